"""What an entry is made of adds up to what it moves, to the last minor unit."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoDbBlocker

from billing_project.console.lineage import NodeType, Ref
from billing_project.console.lineage.nodes import load_nodes
from billing_project.kernel.keys import create_api_key
from metering.services.adjust import cancel_event
from revrec.models import JournalEntry
from revrec.selectors.parts import Part, parts_of_entry
from tests.console.backoffice import person
from tests.revrec.builders import Shop, on, open_shop, recognise
from tests.worlds import standing

pytestmark = pytest.mark.django_db


def _days() -> None:
    """A pack used up by sevenths of a cent, overage beyond it, and a use that is taken back."""
    shop: Shop = open_shop(person("finance_maker"), person("finance_approver"))
    customer = shop.subscriber("2026-01-01", fee=3_100, overage="0.0033")
    shop.grant(customer, "70", "2026-01-02", price=333)
    for hour in range(10):
        used = shop.use(customer, "6.3", f"2026-01-05T{hour:02}")
    recognise(customer, "2026-01-06")
    shop.use(customer, "11.1", "2026-01-07T10")
    shop.use(customer, "5.5", "2026-01-07T11")
    shop.use(customer, "5.7", "2026-01-07T12")
    recognise(customer, "2026-01-08")
    cancel_event(
        customer=customer, identifier=used, reason="twice", by=shop.maker, at=on("2026-01-09")
    )
    shop.rate(customer, on("2026-01-09"))
    recognise(customer, "2026-01-10")


@pytest.fixture(scope="module", autouse=True)
def days(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with standing(_days, django_db_blocker):
        yield


def test_the_parts_of_every_entry_add_up_to_its_amount_wherever_it_is_cut() -> None:
    kinds = set()
    for entry in JournalEntry.objects.all():
        whole = parts_of_entry(entry, limit=1_000)
        pages: list[Part] = []
        after = 0
        while rows := parts_of_entry(entry, after_id=after, limit=3).rows:
            pages += rows
            after = rows[-1].id
        kinds.add(entry.kind)

        assert tuple(pages) == whole.rows
        assert len(pages) == whole.count == entry.sources.count()
        assert sum(part.amount_minor for part in pages) == whole.amount_minor
        assert pages[-1].total_minor == whole.amount_minor
        [node] = load_nodes([Ref(NodeType.JOURNAL_ENTRY, entry.pk)])
        assert node.amount == Decimal(whole.amount_minor).scaleb(-2)  # As a trace shows it.
    assert {"credits_used", "overage_used", "credits_sold", "fees_earned"} <= kinds


def test_a_day_is_shared_by_what_each_use_cost() -> None:
    entry = JournalEntry.objects.filter(kind="credits_used").earliest("pk")

    parts = parts_of_entry(entry, limit=1_000)

    # 6.3 of 70 credits for 333 cost 29.97: 30 a use, but 29 where the fractions have added up.
    assert parts.amount_minor == 300
    assert [part.amount_minor for part in parts.rows] == [30] * 10
    assert {part.credits for part in parts.rows} == {Decimal("-6.3")}
    window = parts.rows[0].window
    assert window is not None
    assert (window.meter, window.event_count) == ("used", 1)


def test_what_is_taken_back_is_negative() -> None:
    negative = [
        parts
        for entry in JournalEntry.objects.filter(kind__in=["credits_used", "overage_used"])
        if (parts := parts_of_entry(entry, limit=1_000)).amount_minor < 0
    ]

    assert negative
    assert all(sum(part.amount_minor for part in one.rows) == one.amount_minor for one in negative)


def _get(path: str) -> Any:
    _, token = create_api_key(name="books", scopes=["invoices:read"], at=on("2026-01-01"))
    return Client(headers={"authorization": f"Bearer {token}"}).get(f"/v1/journal_entries/{path}")


def test_the_api_pages_and_sums() -> None:
    entry = JournalEntry.objects.filter(kind="credits_used").earliest("pk")

    first = _get(f"{entry.pk}/parts?limit=7").json()
    rest = _get(f"{entry.pk}/parts?limit=7&cursor={first['next_cursor']}").json()

    assert (first["amount"], first["currency"], first["part_count"]) == ("3.00", "USD", 10)
    assert [len(first["data"]), len(rest["data"]), rest["next_cursor"]] == [7, 3, None]
    assert (first["data"][-1]["total"], rest["data"][-1]["total"]) == ("2.10", "3.00")
    assert first["data"][0]["fact"].startswith("ledger_transaction:")
    assert first["data"][0]["window"]["unit"] == "unit"


def test_the_page_of_an_entry_shows_each_share(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    entry = JournalEntry.objects.filter(kind="credits_used").earliest("pk")

    with django_assert_max_num_queries(30):  # The shares are read together, in two.
        page = admin_client.get(f"/admin/revrec/journalentry/{entry.pk}/change/").content.decode()

    assert page.count("0.30 USD") >= 10
    assert f"/admin/lineage/?ledger_transaction={entry.sources.earliest('pk').source_id}" in page


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("999999/parts", 404), ("0/parts", 404), ("x/parts", 404), (f"{10**20}/parts", 404),
        ("1/parts?limit=0", 422), ("1/parts?cursor=x", 422), ("1/parts?cursor=-1", 422),
    ],
)  # fmt: skip
def test_what_is_no_entry_and_no_page_is_refused(path: str, status: int) -> None:
    assert _get(path).status_code == status
