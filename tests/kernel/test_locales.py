"""Figures and days by locale: CLDR's forms, in Latin digits and scripts that documents have."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_project.kernel.locales import Formats, UnknownLocale, canonical_locale

NB, NNB = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"
DAY = date(2026, 12, 3)


@pytest.mark.parametrize(
    ("tag", "amount", "currency", "expected"),
    [
        ("en-US", "1240", "USD", "$1,240.00"),
        ("en-US", "1240", "JPY", "¥1,240"),
        ("en-US", "1.240", "KWD", f"KWD{NB}1.240"),
        ("en-GB", "1240", "USD", "US$1,240.00"),
        ("en-GB", "0.05", "EUR", "€0.05"),
        ("de-DE", "1234567.89", "EUR", f"1.234.567,89{NB}€"),
        ("fr-FR", "1234567.89", "EUR", f"1{NNB}234{NNB}567,89{NB}€"),
        ("de-CH", "1240", "CHF", f"CHF{NB}1\N{RIGHT SINGLE QUOTATION MARK}240.00"),
        ("ja-JP", "1240", "JPY", "¥1,240"),  # CLDR's full-width sign is in no embedded font.
        ("ar-KW", "1240.5", "KWD", f"1,240.500{NB}KWD"),  # As its symbol.
        ("hi-IN", "1234567.8", "INR", "₹12,34,567.80"),
        ("pt-BR", "1240", "BRL", f"R${NB}1.240,00"),
    ],
)
def test_amounts_are_written_as_people_there_do(
    tag: str, amount: str, currency: str, expected: str
) -> None:
    assert Formats(tag).money(Decimal(amount), currency) == expected


@pytest.mark.parametrize(
    ("tag", "day", "short"),
    [
        ("en-US", "December 3, 2026", "Dec 3, 2026"),
        ("en-GB", "3 December 2026", "3 Dec 2026"),
        ("de-DE", "3. Dezember 2026", "03.12.2026"),
        ("fr-FR", "3 décembre 2026", "3 déc. 2026"),
        ("ja-JP", "2026/12/3", "2026/12/03"),
        ("ar-KW", "3/12/2026", "03/12/2026"),
    ],
)
def test_days_are_written_as_people_there_do(tag: str, day: str, short: str) -> None:
    assert (Formats(tag).day(DAY), Formats(tag).short_day(DAY)) == (day, short)


def test_prices_and_quantities_are_as_fine_as_they_are() -> None:
    german, french = Formats("de-DE"), Formats("fr-FR")

    assert german.unit_price(Decimal("0.012000000000"), "EUR") == f"0,012{NB}€"
    assert german.unit_price(Decimal(49), "EUR") == f"49,00{NB}€"
    assert german.number(Decimal("1204331.250000000000")) == "1.204.331,25"
    assert (german.percent(Decimal("0.19")), french.percent(Decimal("0.055"))) == (
        f"19{NB}%", f"5,5{NB}%",
    )  # fmt: skip
    assert Formats("en-US").percent(Decimal("0.19")) == "19%"


@given(st.decimals(-(10**15), 10**15, places=3), st.sampled_from(["de-DE", "fr-FR", "ar", "hi"]))
def test_no_digit_is_lost(amount: Decimal, tag: str) -> None:
    written = Formats(tag).money(amount, "KWD")

    digits = "".join(char for char in written if char.isascii() and char.isdigit())
    assert digits == f"{abs(amount):.3f}".replace(".", "")


@pytest.mark.parametrize(("tag", "kept"), [("de-de", "de-DE"), ("fr", "fr"), ("ja-JP", "ja-JP")])
def test_a_tag_is_kept_in_one_form(tag: str, kept: str) -> None:
    assert canonical_locale(tag) == kept


@pytest.mark.parametrize("tag", ["", "xx", "de_DE", "english", "de-XX", "../x", "\x00", "e" * 300])
def test_what_is_no_locale_is_refused(tag: str) -> None:
    with pytest.raises(UnknownLocale):
        canonical_locale(tag)
