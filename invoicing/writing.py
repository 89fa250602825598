"""How the figures of one invoice are written for its customer: by their locale, where they live."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from billing_project.kernel.locales import Formats
from billing_project.kernel.money import Money
from billing_project.kernel.period import Period

MINUS, _DASH = "\u2212", "\u2013"


@dataclass(frozen=True)
class Writer:
    """Writes amounts of one currency, quantities, and days of one time zone."""

    formats: Formats
    currency: str
    zone: str

    def money(self, amount_minor: int) -> str:
        """Write minor units."""
        return self.formats.money(Money(amount_minor, self.currency).decimal, self.currency)

    def less(self, amount_minor: int) -> str:
        """Write minor units that are taken off."""
        return f"{MINUS}{self.money(amount_minor)}"

    def unit_price(self, price: Decimal) -> str:
        """Write the price of one unit, as fine as it is."""
        return self.formats.unit_price(price, self.currency)

    def number(self, value: Decimal) -> str:
        """Write a quantity."""
        return self.formats.number(value)

    def counted(self, value: Decimal, unit: str) -> str:
        """Write a quantity with its unit, in the plural where there is not one ("1,200 tokens")."""
        plural = "" if value == 1 or not unit or unit.endswith("s") else "s"
        return f"{self.number(value)} {unit}{plural}".strip()

    def day(self, day: date) -> str:
        """Write a day in full."""
        return self.formats.day(day)

    def local_day(self, at: datetime) -> str:
        """Write the day of an instant where the customer lives."""
        return self.day(at.astimezone(ZoneInfo(self.zone)).date())

    def span(self, start: datetime, end: datetime) -> str:
        """Write a half-open period as its first and last local day."""
        days = Period(start, end).days(self.zone)
        first, last = (self.formats.short_day(day) for day in (days[0], days[-1]))
        return first if first == last else f"{first} {_DASH} {last}"
