"""Currencies without decimals and with three, through tax, discounts, notes and settlements."""

from decimal import Decimal

import pytest

from billing_project.kernel.money import Money, exponent
from invoicing.crediting import Settlement
from invoicing.discounts import Offer, discounted
from invoicing.lines import Kind, Line
from invoicing.models import CreditNote
from invoicing.selectors import balance_of
from invoicing.services.credit_notes import issue_credit_note
from invoicing.tax import Taxed, tax_credited, taxed
from tests.invoicing.builders import (
    START,
    Shop,
    check_what_is_deferred,
    customer_of,
    issued,
    paid,
    registered_in,
)


@pytest.mark.parametrize(
    ("currency", "price", "off", "net", "tax", "total"),
    [
        # JPY 9,999 less a third (3,333) is 6,666, of it 10/110 is tax: 606.
        ("JPY", 9_999, 3_333, 6_060, 606, "6666 JPY"),
        # KWD 9.999 less 3.333 is 6.666, of it 10/110: 0.606.
        ("KWD", 9_999, 3_333, 6_060, 606, "6.666 KWD"),
        ("JPY", 1, 0, 1, 0, "1 JPY"),  # A third of 1 rounds to nothing.
    ],
)
def test_a_discount_and_a_tax_in_the_price_are_rounded_once_each(
    currency: str, price: int, off: int, net: int, tax: int, total: str
) -> None:
    line = Line(Kind.RECURRING, "Fee", Decimal(1), "", Decimal(price), price, "fee")
    third = Offer("third", Decimal("33.333333"), 0, (Kind.RECURRING,))

    (lowered,) = discounted([line], [third], currency)
    parts = taxed(lowered.amount_minor, Decimal("0.1"), is_inclusive=True)

    assert price - lowered.amount_minor == off
    assert parts == Taxed(net, tax)
    assert str(Money(parts.net_minor + parts.tax_minor, currency)) == total
    if off:
        assert f"-{Money(off, currency).decimal:f}" in lowered.description


def test_the_tax_of_a_yen_goes_with_the_note_that_completes_it() -> None:
    line = Taxed(3, 1)
    taken = [tax_credited(line, 0, 0, 1), tax_credited(line, 1, 0, 1)]

    # round(1/3) = 0; round(2/3) = 1; the last has none left.
    assert [*taken, tax_credited(line, 2, sum(taken), 1)] == [0, 1, 0]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("currency", "country", "rate", "price"),
    [("JPY", "JP", "0.1", 1_000), ("KWD", "KW", "0.05", 10_005), ("EUR", "DE", "0.19", 10_000)],
)
def test_notes_of_thirds_settled_in_three_ways_end_on_the_last_unit(
    shop: Shop, currency: str, country: str, rate: str, price: int
) -> None:
    registered_in(shop, country, rate, currency, is_inclusive=True)
    customer = customer_of(shop, country=country, currency=currency)
    invoice = paid(shop, issued(shop, customer, price, currency))
    line = invoice.lines.get()
    assert (line.amount_minor + line.tax_minor, invoice.total_minor) == (price, price)

    third, back = line.amount_minor // 3, []
    for number, minor in enumerate((third, third, line.amount_minor - 2 * third)):
        gross = minor + tax_credited(
            Taxed(line.amount_minor, line.tax_minor), line.credited_minor,
            line.tax_credited_minor, minor,
        )  # fmt: skip
        part = gross // 3
        back.append(Settlement(part, part, gross - 2 * part))
        issue_credit_note(
            invoice=invoice, lines=[(line, minor)], reason="goodwill", memo="",
            key=f"third-{number}", settlement=back[-1], by=shop.worker, at=START,
        )  # fmt: skip
        line.refresh_from_db()
    check_what_is_deferred()

    invoice.refresh_from_db()
    assert (line.credited_minor, line.tax_credited_minor) == (line.amount_minor, line.tax_minor)
    assert invoice.credited_minor == invoice.total_minor
    assert sum(note.total_minor for note in CreditNote.objects.all()) == price
    assert balance_of(invoice) == sum(one.balance_minor for one in back)
    assert invoice.returned_minor == price - balance_of(invoice)
    assert exponent(currency) == {"JPY": 0, "KWD": 3, "EUR": 2}[currency]
