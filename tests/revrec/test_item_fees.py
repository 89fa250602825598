"""Seats, further fees and one-off fees earn by the day, in advance or in arrears."""

from datetime import date

import pytest

from invoicing.items import Item
from invoicing.models import Invoice, Subscription
from invoicing.services.invoices import finalize_due
from invoicing.services.seats import change_seats
from invoicing.services.subscriptions import subscribe
from metering.models import Customer
from tests.revrec.builders import Shop, balances, entries, on, recognise

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]

SEAT = Item("seat", "seats", "Seats", 3_100)  # 1.00 a day in a month of 31.


def _team(shop: Shop, customer: Customer, *items: Item, seats: int = 0) -> Subscription:
    sold = subscribe(
        customer=customer, plan_version=shop.plan_version(items=items), start_at=on("2026-01-01"),
        by=shop.maker, at=on("2026-01-01"), seats=seats,
    )  # fmt: skip
    finalize_due(by=shop.maker, at=on("2026-01-01"))
    return sold


def _change(shop: Shop, sold: Subscription, seats: int, at: str) -> None:
    change_seats(
        subscription=sold, seats=seats, effective_at=on(at), reason="", key=at, by=shop.maker,
        at=on(at),
    )  # fmt: skip


def test_seats_earn_the_days_that_they_are_there(shop: Shop) -> None:
    customer = shop.customer()
    sold = _team(shop, customer, SEAT, seats=2)
    recognise(customer, "2026-01-11")
    assert balances(customer)["4000"] == -2_000  # 10 days of 2.

    _change(shop, sold, 3, "2026-01-11")
    recognise(customer, "2026-01-21")
    assert balances(customer)["4000"] == -7_000  # and 10 days of 5.

    _change(shop, sold, -4, "2026-01-21")
    recognise(customer, "2026-02-01")

    revenue = -sum(v for code, v in balances(customer).items() if code[0] == "4")
    assert revenue == 8_100  # and 11 days of 1.
    assert balances(customer)["1100"] == 8_100


def test_a_one_off_fee_earns_over_the_periods_that_it_serves(shop: Shop) -> None:
    customer = shop.customer()
    _team(shop, customer, Item("one_off", "setup", "Set-up", 9_000, periods=3))

    recognise(customer, "2026-02-01")

    assert balances(customer) == {"1100": 9_000, "2120": -5_900, "4000": -3_100}  # 31 of 90 days.


def test_a_fee_in_arrears_is_unbilled_until_its_invoice(shop: Shop) -> None:
    customer = shop.customer()
    _team(shop, customer, Item("recurring", "review", "Review", 3_100, timing="arrears"))
    shop.renew("2026-02-01")
    shop.renew("2026-02-02T01")

    recognise(customer, "2026-02-02T02")

    assert balances(customer, until=date(2026, 2, 1)) == {"1200": 3_100, "4000": -3_100}
    assert balances(customer) == {"1100": 3_100, "4000": -3_100}
    assert len(entries(customer, "fees_earned")) == 31
    assert recognise(customer, "2026-02-02T02") == 0


def test_a_note_on_a_fee_in_arrears_takes_revenue_back(shop: Shop) -> None:
    customer = shop.customer()
    _team(shop, customer, Item("recurring", "review", "Review", 3_100, timing="arrears"))
    shop.renew("2026-02-01")
    shop.renew("2026-02-02T01")
    recognise(customer, "2026-02-02T02")
    shop.credit(Invoice.objects.get(), 100, "billing_error", "2026-02-03")
    recognise(customer, "2026-02-03T01")

    assert balances(customer) == {"1100": 3_000, "4000": -3_100, "4900": 100}
