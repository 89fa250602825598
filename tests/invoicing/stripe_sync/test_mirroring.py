"""Stripe's copy of usage, grants and invoices: each once, whatever is lost, and compared."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from billing_project.kernel.models import User
from billing_project.kernel.period import hour_of
from invoicing import tasks
from invoicing.models import (
    MIRRORED,
    CallKind,
    CallState,
    Invoice,
    MirroredUsage,
    StripeCall,
    StripeCustomer,
    StripeDifference,
    StripeMeter,
)
from invoicing.services.packs import sell_credit_pack
from invoicing.stripe_sync import mirroring, reconciling
from invoicing.stripe_sync.gateway import Unreachable
from invoicing.stripe_sync.mirrored import mirror_differences
from invoicing.stripe_sync.mirroring import ask_for_mirror
from invoicing.stripe_sync.sending import send_due
from metering.events import EventInput
from metering.models import Customer
from metering.services.adjust import cancel_event
from metering.services.aggregate import aggregate_batches
from metering.services.capture import capture_events
from tests.invoicing.stripe_sync.till import Till, real_now

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def mirror(till: Till, settings: Any) -> Till:
    """Return a shop that tells Stripe everything."""
    settings.STRIPE_MIRROR = True
    return till


def _noon(days_ago: int) -> datetime:
    return real_now().replace(hour=12, minute=0, second=0) - days_ago * DAY


def _use(till: Till, tokens: str, at: datetime, identifier: str = "req-1") -> None:
    event = EventInput(
        event_name="llm_request", identifier=identifier, customer="acme", timestamp=at,
        properties={"model": "small", "output_tokens": tokens},
    )  # fmt: skip
    assert capture_events(items=[event], sender="test", at=at).accepted == 1
    aggregate_batches(at=at)


def _sell(till: Till, customer: Customer, minor: int) -> Invoice:
    return sell_credit_pack(
        customer=customer, pricing_unit=till.shop.unit, amount=Decimal(100), price_minor=minor,
        key="pack", by=till.shop.maker, at=till.at,
    )  # fmt: skip


def _run(till: Till, after: timedelta = timedelta(0), kinds: Any = MIRRORED) -> int:
    """Do what the task does, so much later."""
    till.at += after
    ask_for_mirror(by=till.shop.worker, at=till.at)
    return send_due(by=till.shop.worker, now=lambda: till.at, kinds=kinds)


def _customer(till: Till) -> Customer:
    customer = till.customer()
    _run(till)  # Meters are made before anything is told of them.
    return customer


def _at_stripe(till: Till, customer: Customer) -> list[dict[str, Any]]:
    """Return the events that Stripe really counts for a customer."""
    row = StripeCustomer.objects.get(customer=customer)
    events = till.fake.tell("find", object="billing.meter_event")
    return [one for one in events if one["payload"]["stripe_customer_id"] == row.stripe_id]


def _differences(till: Till) -> list[str]:
    found = mirror_differences(till.at - 20 * DAY, till.at + DAY)
    return [f"{one.subject}: {one.here} here, {one.there} there" for one in found]


def test_usage_is_told_once_and_corrections_as_what_they_moved(mirror: Till) -> None:
    customer = _customer(mirror)
    _use(mirror, "100", _noon(2))

    assert _run(mirror) == 1
    assert _run(mirror) == 0
    _use(mirror, "2.5", _noon(2) + timedelta(minutes=5), "req-2")
    _run(mirror)
    cancel_event(customer=customer, identifier="req-1", reason="a test of theirs",
                 by=mirror.shop.maker, at=mirror.at)  # fmt: skip
    aggregate_batches(at=mirror.at)
    _run(mirror)

    told = _at_stripe(mirror, customer)
    assert sorted(Decimal(one["payload"]["value"]) for one in told) == [-100, Decimal("2.5"), 100]
    assert {one["timestamp"] for one in told} == {int(_noon(2).timestamp())}
    assert all(":window:" in one["identifier"] for one in told)
    assert _differences(mirror) == []


def test_whatever_gets_lost_each_hour_is_counted_once(mirror: Till) -> None:
    customer = _customer(mirror)
    for hour in range(24):
        _use(mirror, str(hour + 1), _noon(3) + hour * HOUR, f"req-{hour}")
    calls = "POST /v1/billing/meter_events"
    mirror.fake.faults(
        {"fault": "lost_answer", "calls": calls, "percent": 30},
        {"fault": "error_after", "calls": calls, "percent": 15},
        {"fault": "too_many", "calls": calls, "percent": 15},
    )
    for _ in range(8):
        _run(mirror, HOUR)
    mirror.fake.faults()
    _run(mirror, HOUR)

    assert StripeCall.objects.filter(kind=CallKind.USAGE, state=CallState.DONE).count() == 24
    assert sum(Decimal(one["payload"]["value"]) for one in _at_stripe(mirror, customer)) == 300
    assert _differences(mirror) == []


def test_what_stripe_refuses_is_kept_with_its_reason_and_told_with_the_next_change(
    mirror: Till, settings: Any
) -> None:
    customer = _customer(mirror)
    settings.STRIPE_NAMESPACE, right = "renamed", settings.STRIPE_NAMESPACE
    _use(mirror, "7", _noon(2))
    _run(mirror)
    refused = StripeCall.objects.get(kind=CallKind.USAGE)
    settings.STRIPE_NAMESPACE = right

    assert (refused.state, refused.error[:21]) == ("failed", "No active meter found")
    assert _run(mirror, DAY) == 0
    assert _differences(mirror) == [
        f"usage of output_tokens by acme on {_noon(2).date()} as told: 7 here, 0 there"
    ]
    _use(mirror, "1", _noon(2) + timedelta(minutes=1), "req-2")
    _run(mirror)
    assert [one["payload"]["value"] for one in _at_stripe(mirror, customer)] == ["8"]
    assert _differences(mirror) == []


def test_hours_that_run_or_are_older_than_stripe_takes_are_not_told(mirror: Till) -> None:
    _customer(mirror)
    _use(mirror, "1", hour_of(mirror.at))
    _use(mirror, "2", mirror.at - 35 * DAY, "old")

    assert _run(mirror) == 0
    assert _run(mirror, 2 * HOUR) == 1


def test_a_paid_pack_is_a_grant_and_its_invoice_a_copy_that_stripe_never_collects(
    mirror: Till,
) -> None:
    customer = _customer(mirror)
    _sell(mirror, customer, 900)
    mirror.collect()
    mirror.hear()

    while _run(mirror):
        pass

    at_stripe = StripeCustomer.objects.get(customer=customer).stripe_id
    [grant] = mirror.fake.tell("find", object="billing.credit_grant", customer=at_stripe)
    assert grant["amount"]["monetary"] == {"currency": "usd", "value": 900}
    [copy] = mirror.fake.tell("find", object="invoice", customer=at_stripe)
    assert (copy["status"], copy["auto_advance"], copy["total"]) == ("paid", False, 900)
    assert copy["metadata"]["invoice"] == "INV-000001"
    assert _differences(mirror) == []
    assert len(mirror.charges(customer)) == 1


def test_lines_whose_answer_was_lost_for_a_day_are_found_and_not_added_again(
    mirror: Till,
) -> None:
    customer = _customer(mirror)
    invoice = _sell(mirror, customer, 10_000)
    _run(mirror)
    mirror.fake.faults({"fault": "lost_answer", "calls": "POST /v1/invoices/", "times": 1})
    _run(mirror, HOUR)
    mirror.fake.faults()

    _run(mirror, 2 * DAY)

    call = StripeCall.objects.get(kind=CallKind.COPY_LINES)
    assert (call.state, call.subject) == ("done", f"invoice:{invoice.pk}:1")
    [copy] = mirror.fake.tell("find", object="invoice", id=call.stripe_id)
    assert (copy["total"], len(copy["lines"]["data"])) == (10_000, 1)


def test_an_amount_that_stripe_cannot_hold_is_refused_here(mirror: Till) -> None:
    customer = mirror.customer(currency="KWD")
    _sell(mirror, customer, 1_001)

    _run(mirror)

    call = StripeCall.objects.get(kind=CallKind.COPY)
    assert (call.state, call.error_code, call.attempt_count) == ("failed", "not_chargeable", 0)
    assert "in tens" in call.error


def test_what_somebody_else_told_stripe_shows_as_a_difference(mirror: Till) -> None:
    customer = _customer(mirror)
    _use(mirror, "5", _noon(2))
    _run(mirror)
    [event] = _at_stripe(mirror, customer)
    mirror._sdk().v1.billing.meter_events.create(
        {"event_name": event["event_name"], "payload": {**event["payload"], "value": "0.25"},
         "timestamp": event["timestamp"]}
    )  # fmt: skip

    assert _differences(mirror) == [
        f"usage of output_tokens by acme on {_noon(2).date()}: 5 here, 5.25 there"
    ]


def test_nothing_is_told_unless_it_is_switched_on(
    till: Till, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invoicing.tasks.clock.now", lambda: till.at)
    customer = till.customer()
    _use(till, "5", _noon(2))

    assert (tasks.mirror(), StripeMeter.objects.count()) == (0, 0)
    settings.STRIPE_MIRROR = True
    told = [tasks.mirror() for _ in range(2)]

    assert told == [1, 1]  # The meter, then its usage.
    assert len(_at_stripe(till, customer)) == 1


def test_no_second_sees_more_calls_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0, 0, 0, 0, 0, 1, 1]
    slept: list[int] = []
    monkeypatch.setattr("invoicing.tasks.time.monotonic", lambda: seconds.pop(0))
    monkeypatch.setattr("invoicing.tasks.time.sleep", slept.append)
    wait = tasks.pace(3)

    for _ in range(5):
        wait()

    assert (slept, seconds) == ([1, 1], [])


def test_the_page_says_what_stripe_has_and_what_it_refused(mirror: Till, client: Client) -> None:
    _customer(mirror)
    _use(mirror, "5", _noon(2))
    _run(mirror)
    _use(mirror, "1", _noon(2), "req-2")
    mirror.fake.faults({"fault": "too_many", "calls": "POST /v1/billing/meter_events"})
    _run(mirror)
    mirror.fake.faults()
    client.force_login(User.objects.create_superuser("root"))

    page = client.get("/admin/invoicing/mirroredusage/").content.decode()

    assert page.count(">done</span>") == 1
    assert page.count(">unknown</span>") == 1
    assert "Too many requests" in page
    row = MirroredUsage.objects.latest("pk")
    for url in (f"mirroredusage/{row.pk}/change/", "stripemeter/", "stripecall/"):
        assert client.get(f"/admin/invoicing/{url}").status_code == 200


def test_what_was_told_is_never_edited(mirror: Till) -> None:
    _customer(mirror)
    _use(mirror, "5", _noon(2))
    _run(mirror)

    for statement in (
        "UPDATE mirrored_usage SET quantity = 6", "DELETE FROM mirrored_usage",
        "UPDATE stripe_meter SET stripe_id = 'mtr_2'",
    ):  # fmt: skip
        with (
            pytest.raises(DatabaseError, match="append-only"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
    assert MirroredUsage.objects.get().quantity == 5


def test_hours_without_a_quantity_hold_up_none_that_have_one(
    mirror: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = _customer(mirror)
    monkeypatch.setattr(mirroring, "_WINDOWS_AT_ONCE", 3)
    for hour in range(3):
        _use(mirror, "0", _noon(3) + hour * HOUR, f"zero-{hour}")
    _use(mirror, "100", _noon(2))

    assert _run(mirror) == 1

    assert [one["payload"]["value"] for one in _at_stripe(mirror, customer)] == ["100"]
    assert _run(mirror) == 0


def test_money_is_compared_though_the_mirror_cannot_be(
    mirror: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Unreachable("no such customer")

    monkeypatch.setattr(reconciling, "mirror_differences", fail)
    of_mirror, of_money = (
        StripeDifference.objects.create(
            kind="amount", subject=subject, here="6", there="5", owner="engineering",
            first_seen_at=mirror.at, last_seen_at=mirror.at,
        )
        for subject in ("usage of tokens by acme on 2026-11-03", "payment pi_gone")
    )  # fmt: skip

    with pytest.raises(Unreachable):
        reconciling.reconcile(since=mirror.at - DAY, until=mirror.at + DAY, at=mirror.at)

    of_mirror.refresh_from_db()
    of_money.refresh_from_db()
    assert (of_mirror.resolved_at, of_money.resolved_at) == (None, mirror.at)


def test_a_run_ends_in_time(mirror: Till) -> None:
    _customer(mirror)
    _use(mirror, "100", _noon(2))

    assert ask_for_mirror(by=mirror.shop.worker, at=mirror.at, is_over=lambda: True) == 0
    ask_for_mirror(by=mirror.shop.worker, at=mirror.at)
    sent = send_due(
        by=mirror.shop.worker, now=lambda: mirror.at, kinds=MIRRORED, is_over=lambda: True
    )

    assert (sent, StripeCall.objects.filter(kind=CallKind.USAGE, state="pending").count()) == (0, 1)
