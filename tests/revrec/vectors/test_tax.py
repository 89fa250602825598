"""Published tax: beside a price, inside it; and what the books never count as revenue."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from invoicing.tax import Taxed, taxed
from revrec.posting import About, fee_earned, fee_invoiced, payment_received, tax_charged
from revrec.provider import fee_kept
from revrec.schedule import straight_line
from tests.revrec.vectors import VECTORS, by_month, minor, moved

USD = About("USD")


def _sold(parts: Taxed) -> dict[str, int]:
    return moved(
        fee_invoiced(parts.net_minor, USD),
        tax_charged(parts.tax_minor, USD),
        fee_earned(parts.net_minor, USD),
        payment_received(parts.net_minor + parts.tax_minor, USD),
    )


def _rate(vector: Mapping[str, Any]) -> Decimal:
    return Decimal(vector["inputs"]["rate"])


def _published(expected: dict[str, list[str]]) -> dict[str, int]:
    return {
        "1000": minor(expected["Cash"][0]),
        "2300": -minor(expected["TaxLiability"][0]),
        "4000": -minor(expected["Revenue"][0]),
    }


def test_str_30_tax_beside_the_price() -> None:
    vector = VECTORS["STR-30"]

    parts = taxed(minor(vector["inputs"]["net"]), _rate(vector), is_inclusive=False)

    assert _sold(parts) == _published(vector["expected"])


def test_str_31_tax_inside_the_price() -> None:
    vector = VECTORS["STR-31"]

    parts = taxed(minor(vector["inputs"]["gross"]), _rate(vector), is_inclusive=True)

    assert _sold(parts) == _published(vector["expected"])


def test_str_32_tax_inside_a_price_is_not_a_share_of_the_gross() -> None:
    vector = VECTORS["STR-32"]

    parts = taxed(minor(vector["inputs"]["gross"]), _rate(vector), is_inclusive=True)

    # Published 27.90 + 3.10 (10 % of the gross), against STR-31 on the same page.
    correct = vector["expected"]["correct"]
    assert parts == Taxed(minor(correct["Revenue"]), minor(correct["TaxLiability"]))
    assert parts.net_minor + parts.tax_minor == minor(correct["Cash"])
    assert parts.net_minor != minor(vector["expected"]["published"]["Revenue"][0])


def test_str_33_accruals_are_net_of_tax() -> None:
    vector = VECTORS["STR-33"]

    parts = taxed(minor(vector["inputs"]["gross"]), Decimal("0.10"), is_inclusive=True)
    months = by_month(straight_line(parts.net_minor, date(2024, 1, 1), date(2024, 4, 1)))

    # Published: gross is accrued (34.10, 30.80) and 5.90 of tax is reversed at the end.
    # 9091 * 31/91 = 3096.93; * 60/91 = 5994.07; so 30.97, 28.97, 30.97: never above the net.
    assert parts == Taxed(9_091, 909)
    assert list(months.values()) == [3_097, 2_897, 3_097]
    assert sum(months.values()) == parts.net_minor


def test_lag_04_a_coupon_lowers_the_tax_and_prepaid_credits_do_not() -> None:
    inputs, expected = VECTORS["LAG-04"]["inputs"], VECTORS["LAG-04"]["expected"]
    net = minor(inputs["subs"] + inputs["usage"])
    coupon, prepaid = minor(inputs["coupon"]), minor(inputs["prepaid"])

    parts = taxed(net - coupon, Decimal(inputs["tax"]), is_inclusive=False)
    total = parts.net_minor + parts.tax_minor - prepaid

    # Published: 33 (prepaid credits lowered the tax, too), later 37 (the coupon did not any more).
    # A coupon is less consideration: (70 - 10) * 1.10 - 30 = 36.
    assert total == 3_600
    assert minor(expected["old_total"]) < total < minor(expected["new_total"])


def test_ldg_01_an_invoice_with_tax_and_a_payment_net_of_fee() -> None:
    vector = VECTORS["LDG-01"]
    net, tax, fee = (minor(vector["inputs"][name]) for name in ("net", "tax", "fee"))
    finalized, paid = vector["expected"]["finalize"], vector["expected"]["pay"]

    invoice = moved(fee_invoiced(net, USD), tax_charged(tax, USD), fee_earned(net, USD))
    payment = moved(payment_received(net + tax, USD), fee_kept(fee, False, USD))

    assert invoice == {
        "1100": minor(finalized["Dr AR"]),
        "2300": -minor(finalized["Cr Tax"]),
        "4000": -minor(finalized["Cr Revenue"]),
    }
    assert payment == {
        "1000": minor(paid["Dr Clearing"]),
        "6100": minor(paid["Dr Fees"]),
        "1100": -minor(paid["Cr AR"]),
    }


def test_ldg_04_a_charge_and_its_fee() -> None:
    vector = VECTORS["LDG-04"]
    amount, fee = (minor(vector["inputs"][name]) for name in ("amount", "fee"))
    expected = vector["expected"]

    entry = moved(
        fee_invoiced(amount, USD),
        fee_earned(amount, USD),
        payment_received(amount, USD),
        fee_kept(fee, False, USD),
    )

    assert entry == {
        "1000": minor(expected["Dr Clearing"]),
        "6100": minor(expected["Dr Fees"]),
        "4000": -minor(expected["Cr Revenue"]),
    }
