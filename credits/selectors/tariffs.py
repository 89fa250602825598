"""Rates as price functions, from their rows or from the content of a proposal."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from credits.models import PricingModel, Rate
from credits.tariff import Tariff
from credits.terms import RateTerms, tariff_of


def tariff_of_rate(rate: Rate) -> Tariff:
    """Return the price function of a rate."""
    return tariff_of(
        RateTerms(
            rate.model, rate.unit_price, rate.terms, rate.included, rate.minimum, rate.maximum
        )
    )


def tariff_of_content(rate: Mapping[str, Any]) -> Tariff:
    """Return the price function of one rate of a proposal's content."""
    bounds = (_decimal(rate, name) for name in ("included", "minimum", "maximum"))
    return tariff_of(
        RateTerms(
            rate.get("model", PricingModel.PER_UNIT),
            Decimal(rate.get("unit_price", "0")),
            rate.get("terms", {}),
            *bounds,
        )
    )


def _decimal(rate: Mapping[str, Any], name: str) -> Decimal | None:
    return Decimal(rate[name]) if name in rate else None
