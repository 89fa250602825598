"""Prices with the tax in them, from the preview to the notes: fees, seats, what is claimed once."""

from decimal import Decimal

import pytest

from invoicing.items import Item
from invoicing.models import CreditNote, Invoice, Subscription
from invoicing.selectors import preview, shortfall_overclaimed
from invoicing.selectors.seats import claimed_for_seats
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.seats import change_seats
from invoicing.services.subscriptions import subscribe
from invoicing.tax import Tax, Treatment, is_in_price, net_before, taxed_as
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    customer_of,
    fee_invoice,
    first_period,
    overage_invoices,
    registered_in,
    sell_plan,
)

IN_PRICE = Tax(Treatment.STANDARD, "VAT", Decimal("0.19"), is_inclusive=True)
ITEMS = (
    Item("seat", "seats", "Seats", 11_900),
    Item("one_off", "setup", "Set-up", 11_900),
    Item("recurring", "service", "Service", 11_900, timing="arrears"),
    Item("commit", "minimum", "Minimum", 25_000, kinds=("recurring",)),
    Item("discount", "start", "Start", percent=Decimal(50), periods=0, kinds=("recurring",)),
)


def test_what_has_a_list_price_has_the_tax_in_it_and_usage_has_not() -> None:
    listed = ("recurring", "seat", "one_off", "credit_pack")
    assert all(is_in_price(kind, IN_PRICE) for kind in listed)
    assert not any(is_in_price(k, IN_PRICE) for k in ("overage", "outcome", "commit_shortfall"))
    assert taxed_as("seat", 11_900, IN_PRICE) == taxed_as("overage", 10_000, IN_PRICE)
    # 59.50 left of 119.00 by a discount: 50.00 + 50.00 without tax.
    assert net_before("recurring", 5_950, 5_950, IN_PRICE) == 10_000
    assert net_before("overage", 5_950, 0, IN_PRICE) == 5_950


def _sold(shop: Shop) -> Subscription:
    registered_in(shop, "DE", "0.19", is_inclusive=True)
    version = sell_plan(shop, "team", currency="EUR", fee_minor=0, items=ITEMS)
    customer = customer_of(shop, currency="EUR", country="DE")
    sold = subscribe(
        customer=customer, plan_version=version, start_at=START, by=shop.maker, at=START, seats=2
    )
    finalize_due(by=shop.worker, at=START)
    return sold


@pytest.mark.django_db
def test_seats_and_fees_that_are_claimed_once_are_priced_with_the_tax(shop: Shop) -> None:
    sold = _sold(shop)
    assert (fee_invoice(sold).total_minor, fee_invoice(sold).tax_minor) == (35_700, 5_700)
    assert claimed_for_seats(first_period(sold)) == 23_800

    for seats, key in ((-1, "fewer"), (3, "more")):
        change_seats(
            subscription=sold, seats=seats, effective_at=START + 15 * DAY, reason="", key=key,
            by=shop.worker, at=START + 15 * DAY,
        )  # fmt: skip

    note, added = CreditNote.objects.get(), Invoice.objects.latest("id")
    assert (note.total_minor, note.tax_minor) == (5_950, 950)  # 15 of 30 days x 119.00.
    assert (added.total_minor, added.tax_minor) == (17_850, 2_850)
    assert claimed_for_seats(first_period(sold)) == 23_800 + 2 * 5_950


@pytest.mark.django_db
def test_a_preview_and_a_commit_take_fees_in_arrears_as_the_invoice_does(shop: Shop) -> None:
    sold = _sold(shop)
    expected = preview(first_period(sold))

    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)

    (invoice,) = overage_invoices(sold)
    # 59.50 with 9.50 in it; 250.00 less 100.00 net that count before the discount, with 28.50 more.
    assert (invoice.total_minor, invoice.tax_minor) == (5_950 + 17_850, 950 + 2_850)
    assert (expected.total_minor, expected.tax_minor) == (23_800, 3_800)
    assert shortfall_overclaimed(first_period(sold)) == (0, [])
