"""Published tax: beside a price, inside it; and what the books never count as revenue."""

from datetime import date
from decimal import Decimal

from revrec.posting import About, fee_earned, fee_invoiced, payment_received
from revrec.provider import fee_kept
from revrec.schedule import by_month, straight_line
from revrec.settling import tax_charged
from revrec.taxing import Taxed, left_to_pay, tax_beside, tax_inside
from tests.revrec.vectors import VECTORS, minor, moved

USD = About("USD")


def _sold(taxed: Taxed) -> dict[str, int]:
    return moved(
        fee_invoiced(taxed.net_minor, USD),
        tax_charged(taxed.tax_minor, USD),
        fee_earned(taxed.net_minor, USD),
        payment_received(taxed.gross_minor, USD),
    )


def _published(expected: dict[str, list[str]]) -> dict[str, int]:
    return {
        "1000": minor(expected["Cash"][0]),
        "2300": -minor(expected["TaxLiability"][0]),
        "4000": -minor(expected["Revenue"][0]),
    }


def test_str_30_tax_beside_the_price() -> None:
    vector = VECTORS["STR-30"]

    taxed = tax_beside(minor(vector["inputs"]["net"]), Decimal(vector["inputs"]["rate"]))

    assert _sold(taxed) == _published(vector["expected"])


def test_str_31_tax_inside_the_price() -> None:
    vector = VECTORS["STR-31"]

    taxed = tax_inside(minor(vector["inputs"]["gross"]), Decimal(vector["inputs"]["rate"]))

    assert _sold(taxed) == _published(vector["expected"])


def test_str_32_tax_inside_a_price_is_not_a_share_of_the_gross() -> None:
    vector = VECTORS["STR-32"]

    taxed = tax_inside(minor(vector["inputs"]["gross"]), Decimal(vector["inputs"]["rate"]))

    # Published 27.90 + 3.10 (10 % of the gross), against STR-31 on the same page.
    correct = vector["expected"]["correct"]
    assert taxed == Taxed(minor(correct["Revenue"]), minor(correct["TaxLiability"]))
    assert taxed.gross_minor == minor(correct["Cash"])
    assert taxed.net_minor != minor(vector["expected"]["published"]["Revenue"][0])


def test_str_33_accruals_are_net_of_tax() -> None:
    vector = VECTORS["STR-33"]

    taxed = tax_inside(minor(vector["inputs"]["gross"]), Decimal("0.10"))
    months = by_month(straight_line(taxed.net_minor, date(2024, 1, 1), date(2024, 4, 1)))

    # Published: gross is accrued (34.10, 30.80) and 5.90 of tax is reversed at the end.
    # 9091 * 31/91 = 3096.93; * 60/91 = 5994.07; so 30.97, 28.97, 30.97: never above the net.
    assert taxed == Taxed(9_091, 909)
    assert list(months.values()) == [3_097, 2_897, 3_097]
    assert sum(months.values()) == taxed.net_minor


def test_lag_04_a_coupon_lowers_the_tax_and_prepaid_credits_do_not() -> None:
    inputs, expected = VECTORS["LAG-04"]["inputs"], VECTORS["LAG-04"]["expected"]
    net = minor(inputs["subs"] + inputs["usage"])
    coupon, prepaid = minor(inputs["coupon"]), minor(inputs["prepaid"])

    total = left_to_pay(net, coupon, Decimal(inputs["tax"]), prepaid)

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
