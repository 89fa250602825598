"""Behind each part of an entry stand raw events that add up to its window, whatever moved it."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoDbBlocker

from billing_project.kernel.keys import create_api_key
from credits.models import RatedUsage
from metering.aggregation import MeterRule, Properties
from metering.events import EventInput
from metering.models import UsageWindow
from metering.reading_sql import Query, falls_into
from metering.selectors import window_events
from metering.selectors.window_events import page_of_window
from metering.services.adjust import amend_event, cancel_event
from revrec.models import JournalEntry
from tests.console.backoffice import person
from tests.metering.backfills import a_backfill, applied, upload
from tests.revrec.builders import on, open_shop, recognise
from tests.worlds import standing

pytestmark = pytest.mark.django_db


def _hours() -> None:
    """Two hours of five uses: in one, a use is amended and one cancelled; one is replaced."""
    shop = open_shop(person("finance_maker"), person("finance_approver"))
    customer = shop.subscriber("2026-01-01", overage="0.0033")
    other = shop.subscriber("2026-01-01", overage="0.0033")
    for hour in ("05T10", "06T10"):
        names = [shop.use(customer, "6.3", f"2026-01-{hour}:{minute:02}") for minute in range(5)]
        shop.use(other, "9", f"2026-01-{hour}:02")
        recognise(customer, "2026-01-07")
    at, why, by = on("2026-01-08"), "counted wrong", shop.maker
    cancel_event(customer=customer, identifier=names[1], reason=why, by=by, at=at)
    almost_nothing: Properties = {"amount": "0.000000000001"}
    amend_event(
        customer=customer, identifier=names[3], properties=almost_nothing, reason=why, by=by, at=at
    )
    begun = a_backfill(customer, on("2026-01-05"), on("2026-01-06"), at)
    uses = ((f"new-{minute}", on(f"2026-01-05T10:{minute:02}")) for minute in (7, 8))
    events = [
        EventInput(
            event_name="use", identifier=name, customer=customer.external_id, timestamp=used_at,
            properties={"amount": "1.5"},
        )
        for name, used_at in uses
    ]  # fmt: skip
    upload(begun, at, *events)
    applied(begun, at)
    shop.rate(customer, at + timedelta(hours=1))
    recognise(customer, "2026-01-09")


@pytest.fixture(scope="module", autouse=True)
def hours(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with standing(_hours, django_db_blocker):
        yield


def _get(path: str) -> Any:
    _, token = create_api_key(
        name="books", scopes=["usage:read", "invoices:read"], at=on("2026-01-01")
    )
    return Client(headers={"authorization": f"Bearer {token}"}).get(f"/v1/journal_entries/{path}")


def _pages(path: str, limit: int) -> Iterator[Any]:
    cursor = ""
    while cursor is not None:
        yield (page := _get(f"{path}?limit={limit}&cursor={cursor}").json())
        cursor = page["next_cursor"]


def _windows() -> list[UsageWindow]:
    return list(UsageWindow.objects.filter(customer=_entry().customer).order_by("start_at"))


def _entry() -> JournalEntry:
    return JournalEntry.objects.filter(kind="overage_used").earliest("pk")


@pytest.mark.parametrize("stretch", [0, 1, 5_000])
def test_the_events_of_every_part_add_up_to_its_window_wherever_the_pages_are_cut(
    stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metering.selectors.window_events._STRETCH", stretch)
    entries = JournalEntry.objects.filter(kind="overage_used", customer=_entry().customer)
    quantities = dict.fromkeys((window.pk for window in _windows()), Decimal(0))

    for entry in entries:
        for part in _get(f"{entry.pk}/parts").json()["data"]:
            pages = list(_pages(f"{entry.pk}/parts/{part['fact']}/events", 2))
            window, names = pages[0]["window"], [e["identifier"] for p in pages for e in p["data"]]
            events = [event for page in pages for event in page["data"]]
            summed = sum(Decimal(event["quantity"]) for event in events)
            assert Decimal(window["quantity"]) == Decimal(window["rated_quantity"]) == summed
            assert len(set(names)) == len(names) == window["event_count"]
            assert pages[0]["quantity"] == part["quantity"]
            quantities[window["id"]] += Decimal(part["quantity"])

    # Two of 1.5 replaced five of 6.3; of five of 6.3, one is gone and one is almost nothing.
    assert list(quantities.values()) == [Decimal(3), Decimal("18.900000000001")]


def test_an_amended_event_counts_as_amended_and_a_cancelled_one_not_at_all() -> None:
    events, following = page_of_window(_windows()[1], limit=10)

    assert [(event.quantity, event.is_adjusted) for event in events] == [
        (Decimal("6.3"), False), (Decimal("6.3"), False), (Decimal("0.000000000001"), True),
        (Decimal("6.3"), False),
    ]  # fmt: skip
    assert following is None


def test_a_page_reads_no_more_than_its_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the meter passes over is not read to the hour's end: the page is empty, not the last."""

    def none_counts(rule: MeterRule) -> Query:
        return Query(f"{falls_into(rule).text} AND false", falls_into(rule).params)

    monkeypatch.setattr(window_events, "_STRETCH", 0)
    monkeypatch.setattr(window_events, "falls_into", none_counts)

    events, following = page_of_window(_windows()[1], limit=2)

    assert events == []
    assert following is not None
    assert following.at == on("2026-01-06T10:02")


def test_the_page_of_an_entry_leads_to_the_events_a_page_at_a_time(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_project.console.window_events_page.SHOWN", 2)
    window = _windows()[1]
    url = f"/admin/usage-windows/{window.pk}/events/"

    entries = JournalEntry.objects.filter(kind="overage_used", customer=window.customer)
    pages = [
        admin_client.get(f"/admin/revrec/journalentry/{entry.pk}/change/") for entry in entries
    ]
    assert any(url in page.content.decode() for page in pages)
    first = admin_client.get(url)
    rest = admin_client.get(first.context["next_url"])
    names = [row.name for page in (first, rest) for row in page.context["rows"]]
    assert len(set(names)) == len(names) == window.event_count == 4
    assert "next_url" not in rest.context
    assert "?event=" in first.context["rows"][0].url
    assert admin_client.get(f"{url}?after=x").context["problem"]
    assert admin_client.get("/admin/usage-windows/999999/events/").status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("999999/parts/rated_usage:1/events", 404), ("{entry}/parts/rated_usage:0/events", 404),
        ("{entry}/parts/payment:1/events", 404), ("{entry}/parts/x/events", 404),
        ("{entry}/parts/{fact}/events?cursor=x", 422), ("{entry}/parts/{fact}/events?limit=0", 422),
    ],
)  # fmt: skip
def test_what_is_no_part_and_no_page_is_refused(path: str, status: int) -> None:
    entry = _entry()
    fact = f"rated_usage:{RatedUsage.objects.earliest('pk').pk}"
    assert _get(path.format(entry=entry.pk, fact=fact)).status_code == status
