"""How amounts, numbers and days are written where somebody lives: CLDR's rules, by Babel.

Digits are Latin everywhere, and what the documents' fonts may lack is written by a form that they
have: a currency's code for a symbol in another script, a day in digits for a month's name in one.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton
from babel.numbers import NumberPattern, get_currency_symbol, parse_pattern

from billing_project.kernel.money import exponent

_NBSP = "\u00a0"
_MARKS = str.maketrans("", "", "\u200e\u200f\u061c")  # Of direction: documents run left to right.
_NARROW = str.maketrans("\uffe5\uffe1\uffe0\uff0d", "¥£¢-")  # Full-width forms.
_WRITTEN = {"LATIN", "GREEK", "CYRILLIC"}  # Scripts that the documents' fonts have.
_FINEST = 12
_TOUCHING = re.compile(r"¤(?=-?\d)")


class UnknownLocale(ValueError):
    """A tag names no language and region that CLDR knows."""


def canonical_locale(tag: str) -> str:
    """Return a BCP 47 tag as it is kept ("de-DE").

    Raises:
        UnknownLocale: CLDR has no such locale.
    """
    try:
        locale = Locale.parse(tag, sep="-")
    except (ValueError, UnknownLocaleError) as error:
        raise UnknownLocale(f"{tag} is not a locale (de-DE)") from error
    return str(locale).replace("_", "-")


@dataclass(frozen=True)
class Formats:
    """How one locale writes figures.

    Attributes:
        tag: BCP 47, as `canonical_locale` returns it.
    """

    tag: str

    @cached_property
    def locale(self) -> Locale:
        """Babel's data of it."""
        return Locale.parse(self.tag, sep="-")

    def money(self, amount: Decimal, currency: str) -> str:
        """Write an amount with its currency's own decimals ("$1,240.00", "1.240,00 €")."""
        decimals = exponent(currency)
        return self._currency(amount, currency, (decimals, decimals))

    def unit_price(self, price: Decimal, currency: str) -> str:
        """Write the price of one unit, as fine as it is."""
        return self._currency(price, currency, (exponent(currency), _FINEST))

    def number(self, value: Decimal) -> str:
        """Write a quantity with groups and only the decimals it has."""
        pattern = _with_fraction(self.locale.decimal_formats[None], (0, _FINEST))
        return _plain(pattern.apply(value, self.locale, decimal_quantization=False))

    def percent(self, rate: Decimal) -> str:
        """Write a rate ("19 %", "19%")."""
        pattern = _with_fraction(self.locale.percent_formats[None], (0, _FINEST))
        return _plain(pattern.apply(rate, self.locale, decimal_quantization=False))

    def day(self, day: date) -> str:
        """Write a day in full ("December 3, 2026", "3. Dezember 2026", "2026/12/3")."""
        return self._date(day, "long")

    def short_day(self, day: date) -> str:
        """Write a day in short ("Dec 3, 2026")."""
        return self._date(day, "medium")

    def _date(self, day: date, length: str) -> str:
        text = format_date(day, length, locale=self.locale)
        if not _is_written(text):
            text = format_skeleton("yMd", day, locale=self.locale)
        return _plain(text)

    def _currency(self, value: Decimal, currency: str, fraction: tuple[int, int]) -> str:
        symbol = _plain(get_currency_symbol(currency, self.locale))
        if not _is_written(symbol):
            symbol = currency
        pattern = _with_fraction(self.locale.currency_formats["standard"], fraction)
        text = _plain(pattern.apply(value, self.locale, decimal_quantization=False))
        if symbol[-1].isalpha():  # No letter touches a digit.
            text = _TOUCHING.sub(f"¤{_NBSP}", text)
        return text.replace("¤", symbol)


def _with_fraction(pattern: NumberPattern, fraction: tuple[int, int]) -> NumberPattern:
    """Return a locale's pattern with other decimals."""
    changed = parse_pattern(pattern.pattern)
    changed.frac_prec = fraction
    return changed


def _plain(text: str) -> str:
    return text.translate(_MARKS).translate(_NARROW)


def _is_written(text: str) -> bool:
    """Tell whether all letters are of scripts that the documents' fonts have."""
    letters = (char for char in text if char.isalpha())
    return all(unicodedata.name(char).split()[0] in _WRITTEN for char in letters)
