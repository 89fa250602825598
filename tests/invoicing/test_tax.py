"""Net, tax and their sum: worked examples first, then what always holds."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.tax import NO_TAX, Tax, Taxed, Terms, Treatment, tax_credited, tax_for, taxed
from invoicing.tax_ids import BadTaxId, country_of, normalized

VAT = Terms("VAT", Decimal("0.19"), is_inclusive=False, has_reverse_charge=True)
RATES = st.decimals("0", "0.99", places=4)
PRICES = st.integers(0, 10**15)


def test_tax_in_the_price_is_gross_times_r_over_one_plus_r() -> None:
    # 31.00 with 10 % in it: 31.00 x 0.1 / 1.1 = 2.818, net 28.18; not 10 % of gross, 27.90.
    assert taxed(3100, Decimal("0.1"), is_inclusive=True) == Taxed(2818, 282)
    # 119.00 with 19 %: 100.00 + 19.00. JPY 1100 with 10 %: 1000 + 100.
    assert taxed(11_900, Decimal("0.19"), is_inclusive=True) == Taxed(10_000, 1_900)
    assert taxed(1_100, Decimal("0.1"), is_inclusive=True) == Taxed(1_000, 100)


def test_tax_on_the_price_comes_on_top_rounded_once() -> None:
    assert taxed(4900, Decimal("0.19"), is_inclusive=False) == Taxed(4900, 931)
    assert taxed(5, Decimal("0.1"), is_inclusive=False) == Taxed(5, 1)  # JPY 0.5, half up.
    assert taxed(1_001, Decimal("0.05"), is_inclusive=False) == Taxed(1_001, 50)  # KWD 0.050.
    assert taxed(0, Decimal("0.19"), is_inclusive=False) == Taxed(0, 0)


def test_the_market_and_the_tax_id_decide_the_treatment() -> None:
    assert Tax(Treatment.OUTSIDE) == NO_TAX
    assert tax_for(VAT, "US", "DE", has_tax_id=True) == Tax(Treatment.REVERSE_CHARGE, "VAT")
    charged = Tax(Treatment.STANDARD, "VAT", Decimal("0.19"))
    assert tax_for(VAT, "US", "DE", has_tax_id=False) == charged
    assert tax_for(VAT, "DE", "DE", has_tax_id=True) == charged  # At home nothing is reversed.
    plain = Terms("GST", Decimal("0.1"), is_inclusive=True, has_reverse_charge=False)
    assert tax_for(plain, "US", "AU", has_tax_id=True).treatment == Treatment.STANDARD


def test_notes_take_the_tax_along_to_the_last_unit() -> None:
    line = Taxed(1000, 190)
    first = tax_credited(line, 0, 0, 333)  # round(190 x 333 / 1000) = 63
    second = tax_credited(line, 333, first, 333)  # round(190 x 666 / 1000) = 127, less 63
    third = tax_credited(line, 666, first + second, 334)

    assert (first, second, third) == (63, 64, 63)


@given(PRICES, RATES, st.booleans())
def test_net_and_tax_sum_to_the_price_or_stand_on_it(
    price: int, rate: Decimal, is_inclusive: bool
) -> None:
    parts = taxed(price, rate, is_inclusive=is_inclusive)

    assert parts.net_minor >= 0
    assert parts.tax_minor >= 0
    if is_inclusive:
        assert parts.net_minor + parts.tax_minor == price
    else:
        assert parts.net_minor == price
    off = parts.tax_minor - parts.net_minor * rate
    assert abs(off) <= 1


@given(st.integers(1, 10**9), RATES, st.data())
def test_credits_that_sum_to_a_line_take_exactly_its_tax(
    net: int, rate: Decimal, data: st.DataObject
) -> None:
    line, done, tax = taxed(net, rate, is_inclusive=False), 0, 0
    while done < net:
        more = data.draw(st.integers(max(1, (net - done) // 3), net - done))
        part = tax_credited(line, done, tax, more)
        assert part >= 0
        done, tax = done + more, tax + part

    assert tax == line.tax_minor


@pytest.mark.parametrize(
    ("kind", "written", "compact", "country"),
    [
        ("eu_vat", "DE 136 695 976", "DE136695976", "DE"),
        ("eu_vat", "EL 094259216", "EL094259216", "GR"),
        ("gb_vat", "980 7806 84", "980780684", "GB"),
        ("us_ein", "91-1144442", "911144442", "US"),
        ("ch_vat", "CHE-107.787.577 IVA", "CHE107787577IVA", "CH"),
        ("au_abn", "51 824 753 556", "51824753556", "AU"),
    ],
)
def test_tax_ids_are_compacted_and_of_a_country(
    kind: str, written: str, compact: str, country: str
) -> None:
    assert normalized(kind, written) == compact
    assert country_of(kind, compact) == country


@pytest.mark.parametrize(
    ("kind", "written"),
    [("eu_vat", "DE136695978"), ("gb_vat", "802311781"), ("us_ein", "1"), ("au_abn", "x"),
     ("eu_vat", ""), ("shoe_size", "44")],
)  # fmt: skip
def test_a_wrong_form_or_check_digit_is_refused(kind: str, written: str) -> None:
    with pytest.raises(BadTaxId):
        normalized(kind, written)


def test_a_note_takes_no_tax_back_where_those_that_stand_took_more_than_their_share() -> None:
    line = Taxed(100, 10)

    # Of notes over 5, 5, 5 and 5 with 1, 0, 1 and 0 of tax, those without any were voided.
    assert tax_credited(line, 10, 2, 1) == 0  # And not 1.1 - 2.
    assert tax_credited(line, 10, 2, 90) == 8
