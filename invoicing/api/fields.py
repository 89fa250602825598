"""Fields of money documents: amounts leave as text in major units, with all their decimals."""

from decimal import Decimal
from operator import attrgetter
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from billing_project.kernel.errors import Invalid
from billing_project.kernel.money import Money, exponent
from billing_project.kernel.rest.repeats import source_key


@extend_schema_field({"type": "string", "format": "decimal", "examples": ["79.25"]})
class AmountField(serializers.Field[Any, Any, str, Any]):
    """A row's minor units as text in the row's currency; read-only."""

    def __init__(self, minor: str, *, currency: str = "currency") -> None:
        self._minor, self._currency = attrgetter(minor), attrgetter(currency)
        super().__init__(source="*", read_only=True)

    def to_representation(self, value: Any) -> str:
        """Write all of the currency's decimals."""
        return f"{Money(self._minor(value), self._currency(value)).decimal:f}"


def minor_units(amount: Decimal, currency: str, field: str = "") -> int:
    """Read an amount in major units exactly.

    Args:
        field: What the caller named it, for the refusal.

    Raises:
        Invalid: it has more decimals than its currency.
    """
    scaled = amount.scaleb(exponent(currency))
    if scaled != int(scaled):
        decimals = exponent(currency)
        raise Invalid(f"an amount in {currency} has at most {decimals} decimals", field=field)
    return int(scaled)


def caller_key(request: Request) -> str:
    """Name what a caller does after their Idempotency-Key, within a column's length."""
    return source_key(request)
