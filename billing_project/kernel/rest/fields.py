"""Serializer fields for what the house writes as text: quantities, money, instants, names."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import available_timezones

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing_project.kernel.locales import UnknownLocale, canonical_locale
from billing_project.kernel.money import Money, exponent, is_currency
from billing_project.kernel.quantity import NotAQuantity, parse_quantity, plain

EXTERNAL_ID = re.compile(r"[A-Za-z0-9._:@+-]{1,128}", re.ASCII)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)", re.ASCII
)  # RFC 3339; an offset is required.
_MAX_MINOR = 10**15  # bigint holds 9.2 * 10^18; sums keep three digits in hand.


@extend_schema_field({"type": "string", "format": "decimal", "examples": ["1200", "0.5"]})
class QuantityField(serializers.Field[Decimal, Any, str, Any]):
    """A decimal as text, >= 0 (or > 0), below 10^24, at most 12 decimals."""

    default_error_messages = {"not_positive": "must be more than 0"}

    def __init__(self, *, positive: bool = False, **kwargs: Any) -> None:
        self.positive = positive
        super().__init__(**kwargs)

    def to_internal_value(self, data: object) -> Decimal:
        """Read text or a JSON number exactly."""
        try:
            quantity = parse_quantity(data)
        except NotAQuantity as error:
            raise serializers.ValidationError(str(error), code="invalid_quantity") from error
        if self.positive and not quantity:
            self.fail("not_positive")
        return quantity

    def to_representation(self, value: Decimal) -> str:
        """Write it without exponent and trailing zeros; signs are allowed on the way out."""
        return plain(value)


class IntegerField(serializers.IntegerField):
    """A whole JSON number, or its plain ASCII digits as text; no bool and no fraction.

    Python's `int` reads digits of every script and drops fractions; a caller means neither.
    """

    def to_internal_value(self, data: object) -> int:
        """Read exactly what is a whole number."""
        if isinstance(data, str) and _INTEGER.fullmatch(data):
            return super().to_internal_value(data)
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "format": "date-time"})
class UtcDateTimeField(serializers.Field[datetime, Any, str, Any]):
    """An RFC 3339 instant; a text without offset is refused, because nobody knows what it means."""

    default_error_messages = {
        "invalid": "must be an RFC 3339 instant with its offset (2026-11-20T10:15:30Z)"
    }

    def to_internal_value(self, data: object) -> datetime:
        """Read the instant and bring it to UTC."""
        if not isinstance(data, str) or not _INSTANT.fullmatch(data):
            self.fail("invalid")
        try:
            instant = datetime.fromisoformat(data).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("invalid")
        return instant

    def to_representation(self, value: datetime) -> str:
        """Write it in UTC with a Z."""
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


@extend_schema_field({"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["USD"]})
class CurrencyField(serializers.CharField):
    """An ISO 4217 code in capitals."""

    default_error_messages = {"unknown_currency": "is not an ISO 4217 currency"}

    def to_internal_value(self, data: object) -> str:
        """Refuse codes that no money has."""
        code = super().to_internal_value(data)  # type: ignore[arg-type]
        if not is_currency(code):
            self.fail("unknown_currency")
        return code


class LocaleField(serializers.CharField):
    """How figures and days are written: a BCP 47 tag; empty for the installation's own."""

    default_error_messages = {"unknown_locale": "is not a locale (de-DE)"}

    def to_internal_value(self, data: object) -> str:
        """Return the tag as it is kept; refuse what CLDR does not know."""
        tag: str = super().to_internal_value(data)  # type: ignore[arg-type]
        if not tag:
            return tag
        try:
            return canonical_locale(tag)
        except UnknownLocale:
            self.fail("unknown_locale")


class TimeZoneField(serializers.CharField):
    """A name of the IANA time zone database."""

    default_error_messages = {"unknown_time_zone": "is not an IANA time zone (Europe/Berlin)"}

    def to_internal_value(self, data: object) -> str:
        """Refuse names that have no rules."""
        name = super().to_internal_value(data)  # type: ignore[arg-type]
        if name not in available_timezones():
            self.fail("unknown_time_zone")
        return name


@extend_schema_field({"type": "string", "pattern": "^[A-Za-z0-9._:@+-]{1,128}$"})
class ExternalIdField(serializers.CharField):
    """A caller's own id: ASCII letters, digits and ._:@+- only, so that no two look alike."""

    default_error_messages = {"invalid_id": "must be 1 to 128 of A-Z a-z 0-9 . _ : @ + -"}

    def to_internal_value(self, data: object) -> str:
        """Refuse ids that could be confused."""
        if not isinstance(data, str) or not EXTERNAL_ID.fullmatch(data):
            self.fail("invalid_id")
        return data


@extend_schema_field(
    {
        "type": "object",
        "properties": {"amount": {"type": "string"}, "currency": {"type": "string"}},
        "required": ["amount", "currency"],
    }
)
class MoneyField(serializers.Field[Money, Any, dict[str, str], Any]):
    """`{"amount": "90.00", "currency": "USD"}` in major units; never finer than the currency."""

    default_error_messages = {
        "invalid": "must have amount and currency, like 90.00 and USD",
        "too_fine": "has more decimals than its currency",
        "too_large": "is more than can be stored",
    }

    def to_internal_value(self, data: object) -> Money:
        """Read an exact amount; nothing is rounded."""
        if not isinstance(data, dict) or set(data) != {"amount", "currency"}:
            self.fail("invalid")
        currency = CurrencyField().run_validation(data["currency"])
        amount = QuantityField().to_internal_value(data["amount"])
        minor = amount.scaleb(exponent(currency))
        if minor != int(minor):
            self.fail("too_fine")
        if minor >= _MAX_MINOR:
            self.fail("too_large")
        return Money(int(minor), currency)

    def to_representation(self, value: Money) -> dict[str, str]:
        """Write all of the currency's decimals."""
        return {"amount": f"{value.decimal:f}", "currency": value.currency}
