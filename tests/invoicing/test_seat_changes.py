"""Seats through the service: facts, lines and notes by the day; fees beside them."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction

from billing_project.kernel.errors import Conflict, IdempotencyConflict, Insufficient, Invalid
from invoicing.items import Item
from invoicing.models import (
    ChangeKind,
    CreditNote,
    Invoice,
    InvoiceLine,
    LineKind,
    SeatChange,
    Subscription,
)
from invoicing.phases import Moment
from invoicing.selectors.advance import coming_lines
from invoicing.selectors.seats import claimed_for_seats
from invoicing.services.changes import Asked, change_subscription
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.seats import change_seats, settle_due_seats
from invoicing.services.subscriptions import renew_due, subscribe
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    check_what_is_deferred,
    customer_of,
    fee_invoice,
    first_period,
    sell_plan,
    subscribed,
)

pytestmark = pytest.mark.django_db

SEAT = Item("seat", "seats", "Team seats", 2_000)
SUPPORT = Item("recurring", "support", "Support", 1_500)
REVIEW = Item("recurring", "review", "Review", 700, timing="arrears")
SETUP = Item("one_off", "setup", "Set-up", 9_000, periods=3)


def _team(shop: Shop, seats: int = 5, *items: Item, **changes: object) -> Subscription:
    """Sell seats of USD 20.00 for 30 days."""
    version = sell_plan(shop, "team", items=(SEAT, *items), **changes)
    sold = subscribe(
        customer=customer_of(shop), plan_version=version, start_at=START, by=shop.maker,
        at=START, seats=seats,
    )  # fmt: skip
    finalize_due(by=shop.worker, at=START)
    return sold


def _change(shop: Shop, sold: Subscription, seats: int, day: int, known: int = 0) -> SeatChange:
    effective_at = START + DAY * (day - 1)
    return change_seats(
        subscription=sold, seats=seats, effective_at=effective_at, reason="team", key=f"day-{day}",
        by=shop.maker, at=START + DAY * (known - 1) if known else effective_at,
    )  # fmt: skip


def test_seats_are_claimed_in_advance_beside_the_fee(shop: Shop) -> None:
    sold = _team(shop)

    lines = fee_invoice(sold).lines.values_list("kind", "quantity", "amount_minor")
    assert list(lines) == [("recurring", Decimal(1), 4_900), ("seat", Decimal(5), 10_000)]
    assert sold.seats.get().settled_at == START


def test_added_seats_are_invoiced_for_the_days_that_are_left(shop: Shop) -> None:
    sold = _team(shop)

    change = _change(shop, sold, 3, day=13)

    invoice = Invoice.objects.get(source_key=f"seat_change:{change.pk}")
    line = invoice.lines.get()
    assert line.description == "Team seats: 3 added, 18 of 30 days x 3 x 20.00"
    assert (line.quantity, line.amount_minor) == (Decimal(3), 3_600)
    assert (line.service_start_at, line.service_end_at) == (START + 12 * DAY, END)
    assert invoice.number is not None
    check_what_is_deferred()


def test_removed_seats_are_credited_for_the_days_that_are_left(shop: Shop) -> None:
    sold = _team(shop)

    _change(shop, sold, -2, day=26)

    note = CreditNote.objects.get()
    assert note.invoice == fee_invoice(sold)
    assert note.memo == "2 removed, 5 of 30 days x 2 x 20.00"
    assert note.total_minor == 667  # 100.00 - 93.33
    assert claimed_for_seats(first_period(sold)) == 9_333


def test_what_is_removed_comes_off_the_newest_lines_first(shop: Shop) -> None:
    sold = _team(shop, 1)
    _change(shop, sold, 2, day=16)  # 20.00

    _change(shop, sold, -3, day=17)  # 14 of 30 days x 3 x 20.00 = 28.00

    taken = CreditNote.objects.order_by("id").values_list("total_minor", flat=True)
    assert list(taken) == [2_000, 800]
    assert claimed_for_seats(first_period(sold)) == 1_200  # 16 days of 1, 1 day of 2: 18 x 20/30


def test_a_change_known_later_is_settled_for_its_own_days(shop: Shop) -> None:
    sold = _team(shop)

    _change(shop, sold, 3, day=13, known=20)

    assert claimed_for_seats(first_period(sold)) == 13_600


def test_a_later_change_waits_for_its_instant(shop: Shop) -> None:
    sold = _team(shop)
    change = _change(shop, sold, 3, day=13, known=2)
    assert (change.settled_at, claimed_for_seats(first_period(sold))) == (None, 10_000)

    assert settle_due_seats(at=START + 12 * DAY) == 1
    assert settle_due_seats(at=START + 12 * DAY) == 0

    assert claimed_for_seats(first_period(sold)) == 13_600


def test_the_next_period_begins_with_the_seats_that_there_are(shop: Shop) -> None:
    sold = _team(shop)
    _change(shop, sold, 3, day=13)
    _change(shop, sold, -1, day=31, known=14)
    assert [line.amount_minor for line in coming_lines(first_period(sold), sold)] == [4_900, 14_000]

    renew_due(by=shop.worker, at=END)

    line = InvoiceLine.objects.filter(kind=LineKind.SEAT).latest("id")
    assert (line.quantity, line.amount_minor) == (Decimal(7), 14_000)
    assert not sold.seats.filter(settled_at=None).exists()
    assert settle_due_seats(at=END + DAY) == 0


def test_the_same_change_again_is_the_same_row(shop: Shop) -> None:
    sold = _team(shop)
    first = _change(shop, sold, 3, day=13)

    assert _change(shop, sold, 3, day=13) == first
    assert InvoiceLine.objects.filter(kind=LineKind.SEAT).count() == 2
    with pytest.raises(IdempotencyConflict):
        _change(shop, sold, 4, day=13)


def test_what_cannot_be_changed_is_refused_with_what_is_left(shop: Shop) -> None:
    sold = _team(shop)
    other = subscribed(shop, "other")

    with pytest.raises(Insufficient, match="-1 seats from"):
        _change(shop, sold, -6, day=13)
    with pytest.raises(Invalid, match="adds or removes"):
        _change(shop, sold, 0, day=13)
    with pytest.raises(Invalid, match="from the running period's start on, 2026-10-21"):
        _change(shop, sold, 1, day=0, known=2)
    with pytest.raises(Conflict, match="sells no seats"):
        _change(shop, other, 1, day=13)
    with pytest.raises(Invalid, match="sells no such seats"):
        subscribe(
            customer=customer_of(shop, "third"), plan_version=other.plan_version, start_at=START,
            by=shop.maker, at=START, seats=2,
        )  # fmt: skip


def test_seats_are_chosen_in_a_trial_and_in_a_pause_for_what_follows(shop: Shop) -> None:
    sold = subscribe(
        customer=customer_of(shop), plan_version=sell_plan(shop, "team", items=(SEAT,)),
        start_at=START, by=shop.maker, at=START, seats=5, trial_until=START + 10 * DAY,
    )  # fmt: skip
    _change(shop, sold, 1, day=3)
    _change(shop, sold, 2, day=13, known=3)
    assert not InvoiceLine.objects.filter(kind=LineKind.SEAT).exists()

    for day in (10, 12):
        renew_due(by=shop.worker, at=START + day * DAY)
        settle_due_seats(at=START + day * DAY)

    lines = InvoiceLine.objects.filter(kind=LineKind.SEAT).order_by("id")
    # 6 from the trial's end on, for 30 days; 2 more for 28 of them.
    assert [line.amount_minor for line in lines] == [12_000, 3_733]
    pause = Asked(ChangeKind.PAUSE, Moment.NOW, "holiday", "pause")
    change_subscription(subscription=sold, asked=pause, by=shop.maker, at=START + 15 * DAY)
    _change(shop, sold, -1, day=17)
    assert not sold.seats.filter(settled_at=None).exists()


def test_the_database_refuses_fewer_than_no_seats_and_edits(shop: Shop) -> None:
    sold = _team(shop)
    row = sold.seats.get()

    with pytest.raises(DatabaseError, match="would have -1 seats"), transaction.atomic():
        SeatChange.objects.create(
            subscription=sold, seats=-6, effective_at=END, source_key="x", created_by=shop.maker,
            created_at=START,
        )  # fmt: skip
    with pytest.raises(DatabaseError), transaction.atomic():
        SeatChange.objects.filter(pk=row.pk).update(seats=1)


def test_further_fees_and_one_off_fees_are_lines_of_their_own(shop: Shop) -> None:
    sold = _team(shop, 0, SUPPORT, SETUP)

    lines = list(fee_invoice(sold).lines.order_by("position"))
    assert [(line.kind, line.description, line.amount_minor) for line in lines] == [
        ("recurring", "Team, 100 credits included", 4_900),
        ("recurring", "Support", 1_500),
        ("one_off", "Set-up", 9_000),
    ]
    assert (lines[2].service_start_at, lines[2].service_end_at) == (START, START + 90 * DAY)

    renew_due(by=shop.worker, at=END)
    newest = Invoice.objects.latest("id")
    assert [line.kind for line in newest.lines.all()] == ["recurring", "recurring"]


def test_a_fee_in_arrears_is_claimed_once_with_the_periods_end(shop: Shop) -> None:
    sold = _team(shop, 0, REVIEW)
    assert fee_invoice(sold).total_minor == 4_900

    for hours in (0, 24, 48):
        draft_overage_invoices(by=shop.worker, at=END + timedelta(hours=hours))
        finalize_due(by=shop.worker, at=END + timedelta(hours=hours))

    claimed = InvoiceLine.objects.filter(description="Review")
    assert [(line.amount_minor, line.invoice.status) for line in claimed] == [(700, "finalized")]
