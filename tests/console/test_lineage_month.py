"""A trace from a month of the books: its entries by the page, their sums, and who signed it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from billing_project.console.lineage import NodeType, trace_month
from billing_project.console.search import find_facts
from billing_project.kernel.errors import NotFound
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from revrec.models import JournalEntry
from tests.console.backoffice import client_of, person
from tests.revrec.builders import close_month, on, open_shop, recognise
from tests.worlds import standing

pytestmark = pytest.mark.django_db


def _months() -> None:
    """January is closed and sealed; February has a day's use and is open."""
    shop = open_shop(person("finance_maker"), person("finance_approver"))
    customer = shop.subscriber("2026-01-01", fee=3_100, overage="0.0033")
    shop.grant(customer, "70", "2026-01-02", price=333)
    for day in range(5, 9):
        shop.use(customer, "20", f"2026-01-{day:02}T10")
        recognise(customer, f"2026-01-{day + 1:02}")
    close_month("2026-01-01", "2026-02-03", shop.approver)
    shop.renew("2026-02-03")
    shop.use(customer, "50", "2026-02-02T10")
    recognise(customer, "2026-02-03")


@pytest.fixture(scope="module", autouse=True)
def months(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with standing(_months, django_db_blocker):
        yield


def _get(query: str) -> Any:
    _, token = create_api_key(name="reader", scopes=["usage:read"], at=on("2026-01-01"))
    headers = {"Authorization": f"Bearer {token}"}
    return Client().get(f"/v1/trace?period={query}", headers=headers)


def test_the_pages_of_a_month_are_all_its_entries_once_and_add_up_to_its_sums() -> None:
    summed: dict[str, Decimal] = {}
    seen, after = list[int](), None
    totals = trace_month("2026-01", limit=1).totals
    while True:
        month = trace_month("2026-01", after_id=after, limit=3)
        for node in month.lineage.of(NodeType.JOURNAL_ENTRY):
            kind = JournalEntry.objects.get(pk=node.ref.pk).kind
            summed[kind] = summed.get(kind, Decimal(0)) + node.amount
            seen.append(node.ref.pk)
        if month.next_id is None:
            break
        after = month.next_id

    entries = JournalEntry.objects.filter(period__start_on="2026-01-01")
    assert len(seen) > 6
    assert seen == list(entries.order_by("kind", "pk").values_list("pk", flat=True))
    assert {total.kind: Decimal(total.amount_minor).scaleb(-2) for total in totals} == summed
    assert sum(total.entry_count for total in totals) == len(seen)


def test_the_entries_of_one_kind_are_theirs_alone() -> None:
    month = trace_month("2026-01", kind="credits_used", limit=100)

    kinds = JournalEntry.objects.filter(
        pk__in=[node.ref.pk for node in month.lineage.of(NodeType.JOURNAL_ENTRY)]
    ).values_list("kind", flat=True)
    assert set(kinds) == {"credits_used"}
    assert [total.kind for total in month.totals] == ["credits_used"]


def test_a_page_costs_as_many_queries_whatever_it_shows() -> None:
    def cost(limit: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            trace_month("2026-01", limit=limit)
        return len(queries)

    assert cost(200) == cost(2) <= 12


def test_no_page_begins_at_another_month_s_entry() -> None:
    other = JournalEntry.objects.filter(period__start_on="2026-02-01").earliest("pk")

    with pytest.raises(NotFound):
        trace_month("2026-01", after_id=other.pk, limit=2)


def test_the_api_leads_from_a_month_to_its_entries_and_to_who_signed() -> None:
    first = _get("2026-01&limit=2").json()
    rest = _get(f"2026-01&limit=2&cursor={first['month']['next_cursor']}").json()

    types = [node["type"] for node in first["nodes"]]
    assert types == ["journal_entry", "journal_entry", "accounting_period", "ledger_seal"]
    assert [edge["label"] for edge in first["edges"]] == ["posted in", "posted in", "sealed"]
    assert first["truncated"] is True
    month = first["month"]
    assert (month["period"], month["status"]) == ("2026-01", "closed")
    assert month["closed_by"] != month["proposed_by"]
    assert month["seal"]["sealed_by"] == month["closed_by"]
    assert rest["month"]["totals"] == []  # With the first page alone.
    assert not {node["id"] for node in rest["nodes"][:2]} & {n["id"] for n in first["nodes"][:2]}


def test_an_open_month_has_no_close_and_no_seal() -> None:
    month = _get("2026-02").json()["month"]

    assert (month["status"], month["closed_by"], month["seal"]) == ("open", None, None)
    assert month["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("2026-13", 422), ("26-1", 422), ("2031-01", 404), ("2026-01&cursor=x", 422),
        ("2026-01&cursor=999999999", 404), ("2026-01&event=a/b", 422),
    ],
)  # fmt: skip
def test_what_is_no_month_and_no_page_is_refused(query: str, status: int) -> None:
    assert _get(query).status_code == status


def test_kind_and_cursor_are_a_month_s_alone() -> None:
    assert _get("&payment=1&kind=fees_earned").status_code == 422


def test_the_page_draws_a_month_and_each_entry_leads_on(
    auditor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_project.console.lineage_page.SHOWN", 2)
    client, url = client_of(auditor), reverse("console:lineage")

    first = client.get(url, {"period": "2026-01"})
    after = first.context["month"]["next_url"]
    rest = client.get(after)

    assert [column.title for column in first.context["picture"].columns] == [
        *("Journal entry", "Month", "Seal"),
    ]
    assert "?journal_entry=" in first.context["picture"].boxes[0].url
    text = first.content.decode()
    assert "credits_used" in text
    assert "Close proposed" in text
    assert after.replace("&", "&amp;") in text
    assert rest.context["picture"].boxes[0].node.ref != first.context["picture"].boxes[0].node.ref
    assert client.get(url, {"period": "2026-01", "after": "x"}).context["problem"]


def test_a_pasted_month_leads_to_its_lineage() -> None:
    (found,) = find_facts("2026-01")

    assert (found.kind, found.name) == ("period", "2026-01")
    assert find_facts("2031-01") == []
