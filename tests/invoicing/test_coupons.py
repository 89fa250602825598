"""Coupons and discounts of plans: approved, redeemed within their terms, on their lines."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.approvals import approve, is_as_proposed
from billing_project.kernel.errors import Conflict, Invalid, NotFound
from invoicing.items import Item
from invoicing.models import (
    Coupon,
    CouponRedemption,
    Invoice,
    InvoiceLine,
    LineDiscount,
    Subscription,
)
from invoicing.selectors.advance import coming_lines
from invoicing.services.coupons import CouponTerms, propose_coupon, redeem_coupon
from invoicing.services.invoices import finalize_due
from invoicing.services.seats import change_seats
from invoicing.services.subscriptions import renew_due, subscribe
from tests.invoicing.builders import (
    DAY,
    END,
    LAUNCH,
    START,
    Shop,
    check_what_is_deferred,
    customer_of,
    fee_invoice,
    first_period,
    sell_plan,
    subscribed,
    words,
)

pytestmark = pytest.mark.django_db

SEAT = Item("seat", "seats", "Seats", 2_000)


def _coupon(shop: Shop, code: str = "LAUNCH20", **changes: Any) -> Coupon:
    standard: dict[str, Any] = {
        "code": code, "name": "Launch", "kinds": ("recurring", "seat"), "starts_at": LAUNCH,
        "percent": Decimal(20), "periods": 2,
    }  # fmt: skip
    terms = CouponTerms(**{**standard, **changes})
    coupon = propose_coupon(terms=terms, proposal=words(LAUNCH), by=shop.maker, at=LAUNCH)
    approve(change=coupon.policy_change, by=shop.approver, reason="campaign", at=LAUNCH)
    return coupon


def _sell(shop: Shop, coupon: str = "", seats: int = 0, *items: Item) -> Subscription:
    version = sell_plan(shop, "team", items=(SEAT, *items))
    sold = subscribe(
        customer=customer_of(shop), plan_version=version, start_at=START, by=shop.maker,
        at=START, seats=seats, coupon=coupon,
    )  # fmt: skip
    finalize_due(by=shop.worker, at=START)
    return sold


def test_a_coupon_at_the_sale_lowers_the_first_claim(shop: Shop) -> None:
    _coupon(shop)

    sold = _sell(shop, "launch20", 5)

    lines = list(fee_invoice(sold).lines.order_by("position"))
    assert [(line.amount_minor, line.discount_minor) for line in lines] == [
        (3_920, 980), (8_000, 2_000),
    ]  # fmt: skip
    assert lines[1].description == "Seats; LAUNCH20 20% -20.00"
    assert [off.amount_minor for off in LineDiscount.objects.order_by("id")] == [980, 2_000]
    assert fee_invoice(sold).total_minor == 11_920
    check_what_is_deferred()


def test_a_coupon_holds_for_its_periods_and_from_the_next_one_on(shop: Shop) -> None:
    _coupon(shop)
    sold = _sell(shop)

    redemption = redeem_coupon(subscription=sold, code="LAUNCH20", by=shop.worker, at=START + DAY)

    assert redemption.from_at == END
    assert [line.amount_minor for line in coming_lines(first_period(sold), sold)] == [3_920]
    for index in range(1, 4):
        renew_due(by=shop.worker, at=START + 30 * DAY * index)
    fees = InvoiceLine.objects.filter(invoice__subscription=sold).order_by("id")
    assert [fee.amount_minor for fee in fees] == [4_900, 3_920, 3_920, 4_900]


def test_an_amount_is_shared_by_largest_remainder_and_ends_at_nothing(shop: Shop) -> None:
    _coupon(shop, "WELCOME", percent=None, amount_minor=1_000, currency="USD", periods=1)
    _coupon(shop, "ALL", percent=None, amount_minor=99_999, currency="USD", periods=0)

    sold = _sell(shop, "WELCOME", 1)
    redeem_coupon(subscription=sold, code="ALL", by=shop.worker, at=START)
    renew_due(by=shop.worker, at=END)

    first, second = Invoice.objects.filter(subscription=sold).order_by("id")
    # 10.00 over 49.00 and 20.00: 7.1014 and 2.8985.
    assert list(first.lines.values_list("discount_minor", flat=True)) == [710, 290]
    assert (second.total_minor, second.lines.count()) == (0, 2)


def test_a_plans_own_discount_holds_for_its_first_periods(shop: Shop) -> None:
    half = Item("discount", "start", "Start", percent=Decimal(50), periods=1, kinds=("recurring",))
    sold = _sell(shop, "", 1, half)

    renew_due(by=shop.worker, at=END)

    totals = Invoice.objects.filter(subscription=sold).order_by("id")
    assert [invoice.total_minor for invoice in totals] == [2_450 + 2_000, 6_900]


def test_seats_that_change_keep_their_discount(shop: Shop) -> None:
    _coupon(shop)
    sold = _sell(shop, "LAUNCH20", 5)

    def change(seats: int, day: int) -> None:
        at = START + DAY * (day - 1)
        change_seats(
            subscription=sold, seats=seats, effective_at=at, reason="", key=str(day),
            by=shop.worker, at=at,
        )  # fmt: skip

    change(3, 13)  # 36.00 less 20 %.
    added = InvoiceLine.objects.latest("id")
    assert (added.amount_minor, added.discount_minor) == (2_880, 720)

    change(-2, 26)  # 5 of 30 days x 2 x 20.00 = 6.67, less 20 %: 5.34.
    added.refresh_from_db()
    assert added.credited_minor == 534
    lines = InvoiceLine.objects.filter(kind="seat")
    assert sum(line.amount_minor - line.credited_minor for line in lines) == 8_000 + 2_880 - 534


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"expires_at": START}, r"coupon LAUNCH20 expired at 2026-10-21T00:00:00\+00:00"),
        ({"starts_at": END}, "coupon LAUNCH20 begins at 2026-11-20"),
        ({"percent": None, "amount_minor": 100, "currency": "EUR"}, "is in EUR, the subscription"),
    ],
)
def test_a_coupon_that_does_not_hold_is_refused_with_what_is_missing(
    shop: Shop, changes: dict[str, Any], says: str
) -> None:
    _coupon(shop, **changes)
    sold = _sell(shop)

    with pytest.raises(Conflict, match=says):
        redeem_coupon(subscription=sold, code="LAUNCH20", by=shop.worker, at=START + DAY)


def test_a_coupon_is_redeemed_as_often_as_it_allows(shop: Shop) -> None:
    coupon = _coupon(shop, max_redemptions=1)
    sold, other = _sell(shop), subscribed(shop, "other")
    first = redeem_coupon(subscription=sold, code="LAUNCH20", by=shop.worker, at=START)

    assert redeem_coupon(subscription=sold, code="LAUNCH20", by=shop.worker, at=START) == first
    with pytest.raises(Conflict, match="redeemed 1 of 1 times: none is left"):
        redeem_coupon(subscription=other, code="LAUNCH20", by=shop.worker, at=START)
    for sequence in (1, 2):
        with pytest.raises(DatabaseError), transaction.atomic():
            CouponRedemption.objects.create(
                coupon=coupon, subscription=other, sequence=sequence, from_at=START,
                redeemed_at=START, redeemed_by=shop.worker,
            )  # fmt: skip


def test_an_unapproved_or_unknown_coupon_is_refused(shop: Shop) -> None:
    terms = CouponTerms("SOON", "Soon", ("recurring",), LAUNCH, percent=Decimal(10))
    coupon = propose_coupon(terms=terms, proposal=words(LAUNCH), by=shop.maker, at=LAUNCH)
    sold = _sell(shop)

    assert is_as_proposed(coupon.policy_change)
    with pytest.raises(Conflict, match="not approved"):
        redeem_coupon(subscription=sold, code="SOON", by=shop.worker, at=START)
    with pytest.raises(NotFound, match="no coupon has the code NONE"):
        redeem_coupon(subscription=sold, code="NONE", by=shop.worker, at=START)
    with pytest.raises(DatabaseError), transaction.atomic():
        CouponRedemption.objects.create(
            coupon=coupon, subscription=sold, sequence=1, from_at=START, redeemed_at=START,
            redeemed_by=shop.worker,
        )  # fmt: skip
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE coupon SET percent = 90")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"code": "launch"}, "capital letters"),
        ({"percent": Decimal(101)}, "at most 100 percent"),
        ({"percent": None}, "it has a price"),
        ({"percent": None, "amount_minor": 5}, "has a currency"),
        ({"currency": "USD"}, "has no currency"),
        ({"kinds": ("overage",)}, "takes off lines of these kinds"),
        ({"expires_at": LAUNCH}, "expires after it begins"),
        ({"max_redemptions": 0}, "redeemed 1 to"),
    ],
)
def test_terms_out_of_bounds_are_refused(shop: Shop, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        _coupon(shop, **changes)


def test_a_fresh_expiry_ends_only_redeeming(shop: Shop) -> None:
    """What was redeemed in time goes on for its periods."""
    _coupon(shop, expires_at=START + timedelta(hours=1))
    sold = _sell(shop, "LAUNCH20")

    renew_due(by=shop.worker, at=END)

    assert Invoice.objects.filter(subscription=sold).latest("id").total_minor == 3_920
