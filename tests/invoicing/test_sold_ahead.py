"""What is claimed ahead, where a worker comes late, a draft is held, or a plan changes often."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing_project.kernel.books import Finding
from invoicing import sold_checks
from invoicing.items import Item
from invoicing.models import (
    BillingHold,
    ChangeKind,
    CreditNote,
    Invoice,
    InvoiceLine,
    LineDiscount,
    PlanVersion,
    SeatChange,
    Subscription,
)
from invoicing.phases import Moment
from invoicing.proration import Part
from invoicing.selectors import billing_periods_of
from invoicing.selectors.seats import claimed_for_seats
from invoicing.services.changes import Asked, change_subscription
from invoicing.services.holds import release_hold
from invoicing.services.invoices import finalize_due
from invoicing.services.seats import change_seats, settle_due_seats
from invoicing.services.subscriptions import renew_due, subscribe
from metering.models import Customer
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    customer_of,
    fee_invoice,
    first_period,
    open_market,
    sell_plan,
    set_limits,
)
from tests.invoicing.test_coupons import _coupon as approved_coupon

pytestmark = pytest.mark.django_db

SEAT = Item("seat", "seats", "Seats", 2_000)


def _sell(shop: Shop, version: PlanVersion | None = None, **terms: Any) -> Subscription:
    """Sell a plan, and issue what can be issued."""
    sold = subscribe(
        customer=customer_of(shop), by=shop.maker, start_at=START, at=START,
        plan_version=version or sell_plan(shop, "team", fee_minor=0, items=(SEAT,)), **terms,
    )  # fmt: skip
    finalize_due(by=shop.worker, at=START)
    return sold


def _seats(shop: Shop, sold: Subscription, seats: int, day: int, known: int = 1) -> SeatChange:
    return change_seats(
        subscription=sold, seats=seats, effective_at=START + day * DAY, reason="",
        key=f"{seats}-{day}", by=shop.maker, at=START + known * DAY,
    )  # fmt: skip


def _change(
    shop: Shop, sold: Subscription, kind: ChangeKind, day: int, version: PlanVersion | None = None,
    *, credits_unused: bool = True,
) -> None:  # fmt: skip
    asked = Asked(kind, Moment.NOW, "wanted", f"{kind}-{day}", version, credits_unused)
    change_subscription(subscription=sold, asked=asked, by=shop.worker, at=START + day * DAY)
    finalize_due(by=shop.worker, at=START + day * DAY)


def _net(sold: Subscription, kind: str) -> int:
    lines = InvoiceLine.objects.filter(invoice__subscription=sold, kind=kind)
    return sum(line.amount_minor - line.credited_minor for line in lines)


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what the checks of what is sold ahead find as of an instant."""

    def found(at: datetime) -> list[Finding]:
        monkeypatch.setattr("invoicing.sold_checks.clock.now", lambda: at)
        return [*sold_checks.seats_are_claimed(), *sold_checks.amounts_are_taken_off_once()]

    return found


def test_seats_that_were_added_while_the_worker_was_away_are_claimed(
    shop: Shop, books: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold, late = _sell(shop, seats=5), END + timedelta(minutes=1)
    _seats(shop, sold, 30, day=15)
    assert settle_due_seats(at=START + 2 * DAY) == 0

    renew_due(by=shop.worker, at=late)  # It renews before it settles.
    settle_due_seats(at=late)

    assert claimed_for_seats(first_period(sold)) == 5 * 2_000 + 30 * 1_000
    assert InvoiceLine.objects.latest("id").amount_minor == 35 * 2_000
    assert books(END + DAY) == []
    monkeypatch.setattr("invoicing.selectors.seats.claimed_for_seats", lambda _: 10_000)
    (finding,) = books(END + DAY)
    assert finding.message == "its seats are claimed -30000 beyond their days"


def test_a_held_draft_claims_fewer_seats_instead_of_being_issued(shop: Shop, books: Any) -> None:
    set_limits(shop, approves_first=True)
    sold = _sell(shop, seats=10)
    _seats(shop, sold, -5, day=15)

    settle_due_seats(at=START + 15 * DAY)
    renew_due(by=shop.worker, at=END)

    draft = fee_invoice(sold)
    line = draft.lines.get()
    assert (draft.status, draft.total_minor, line.amount_minor) == ("draft", 15_000, 15_000)
    assert line.description == "Seats; 5 removed, 15 of 30 days x 5 x 20.00"
    release_hold(hold=BillingHold.objects.get(), reason="ok", by=shop.approver, at=END)
    finalize_due(by=shop.worker, at=END)  # Other figures are another doubt.
    release_hold(hold=BillingHold.objects.filter(invoice=draft)[0], reason="ok", by=shop.approver,
                 at=END)  # fmt: skip
    finalize_due(by=shop.worker, at=END)
    draft.refresh_from_db()
    assert (draft.status, draft.total_minor) == ("finalized", 15_000)
    assert books(END + DAY) == []


def test_a_held_draft_keeps_nobody_from_pausing_or_cancelling(shop: Shop) -> None:
    set_limits(shop, approves_first=True)
    approved_coupon(shop, "TENTH", percent=Decimal(10), periods=0)
    version = sell_plan(shop, "team", fee_minor=6_000, items=(SEAT,))
    sold = _sell(shop, version, seats=5, coupon="TENTH")
    pause = Asked(ChangeKind.PAUSE, START + 5 * DAY, "moved", "later")
    change_subscription(subscription=sold, asked=pause, by=shop.worker, at=START + DAY)

    assert renew_due(by=shop.worker, at=START + 6 * DAY) == 1
    _change(shop, sold, ChangeKind.CANCEL, 7)

    # 5 of 30 days: 10.00 of the fee and 16.67 of seats, less a tenth of each.
    lines = list(fee_invoice(sold).lines.order_by("position"))
    assert [(line.amount_minor, line.discount_minor) for line in lines] == [
        (900, 100),
        (1_500, 167),
    ]
    assert sorted(LineDiscount.objects.values_list("amount_minor", flat=True)) == [100, 167]
    assert {line.service_end_at for line in lines} == {START + 5 * DAY}
    assert not CreditNote.objects.exists()
    assert list(billing_periods_of(sold).values_list("end_at", flat=True)) == [
        START + 5 * DAY, START + 7 * DAY,
    ]  # fmt: skip


def test_a_closed_market_keeps_nobody_from_changing_seats(shop: Shop) -> None:
    sold = _sell(shop, seats=5)
    Customer.objects.filter(pk=sold.customer_id).update(country="FR")
    sold.refresh_from_db()

    _seats(shop, sold, 1, day=15, known=15)

    draft = Invoice.objects.latest("id")
    assert (draft.status, draft.total_minor) == ("draft", 1_000)
    _seats(shop, sold, -6, day=15, known=16)
    assert not draft.lines.exists()
    assert _net(sold, "seat") == 5_000
    open_market(shop, "FR", "USD")


@pytest.mark.parametrize("trial_days", [30, 45])
def test_a_trial_uses_no_discount_up(shop: Shop, trial_days: int) -> None:
    approved_coupon(shop, "HALF", percent=Decimal(50), periods=1)
    tenth = Item("discount", "tenth", "Tenth", percent=Decimal(10), periods=1, kinds=("recurring",))
    version = sell_plan(shop, "team", fee_minor=10_000, items=(tenth,))
    _sell(shop, version, coupon="HALF", trial_until=START + trial_days * DAY)

    for days in (30, 60, 90):
        renew_due(by=shop.worker, at=START + days * DAY)

    totals = [invoice.total_minor for invoice in Invoice.objects.order_by("id")]
    assert totals[:2] == [4_500, 10_000]


def test_a_pause_uses_no_discount_up_but_what_was_paid_of_its_interval_does(shop: Shop) -> None:
    approved_coupon(shop, "HALF", percent=Decimal(50), periods=2)
    sold = _sell(shop, sell_plan(shop, "team", fee_minor=3_000), coupon="HALF")

    _change(shop, sold, ChangeKind.PAUSE, 10)  # The rest of the first, and the whole second.
    renew_due(by=shop.worker, at=START + 30 * DAY)
    _change(shop, sold, ChangeKind.RESUME, 61)
    renew_due(by=shop.worker, at=START + 90 * DAY)

    lines = InvoiceLine.objects.order_by("id")
    assert [line.amount_minor - line.credited_minor for line in lines] == [500, 1_450, 3_000]


@pytest.mark.parametrize(
    ("credits_unused", "taken"),
    [(True, 3_000), (False, 3_000)],  # 10.00 of ten days each; or 30.00 of the first, for good.
)
def test_an_amount_is_taken_off_once_however_often_the_plan_changes(
    shop: Shop, books: Any, credits_unused: bool, taken: int
) -> None:
    approved_coupon(shop, "THIRTY", percent=None, amount_minor=3_000, currency="USD", periods=1)
    first, *others = (
        sell_plan(shop, code, fee_minor=fee, included_credits=Decimal(0))
        for code, fee in (("a", 6_000), ("b", 12_000), ("c", 24_000))
    )
    sold = _sell(shop, first, coupon="THIRTY")
    for version, day in zip(others, (10, 20), strict=True):
        _change(shop, sold, ChangeKind.PLAN, day, version, credits_unused=credits_unused)
    renew_due(by=shop.worker, at=END)

    whole = 2_000 + 4_000 + 8_000 if credits_unused else 6_000 + 8_000 + 8_000
    assert _net(sold, "recurring") == whole - taken + 24_000
    assert books(END) == []


def test_the_books_find_an_amount_that_is_taken_off_by_every_change(
    shop: Shop, books: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved_coupon(shop, "THIRTY", percent=None, amount_minor=3_000, currency="USD", periods=1)
    sold = _sell(shop, sell_plan(shop, "a", fee_minor=6_000), coupon="THIRTY")
    whole = Part(0, 30, 30)
    monkeypatch.setattr("invoicing.selectors.offers.part_of", lambda *_: whole)  # Not by days.

    _change(shop, sold, ChangeKind.PLAN, 10, sell_plan(shop, "b", fee_minor=12_000))

    (finding,) = books(END)
    assert finding.message.startswith("THIRTY took 4000 of 3000 off the interval from 2026-10-21")
