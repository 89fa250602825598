"""Rates as price functions, from their rows or from the content of a proposal."""

from credits.models import Rate
from credits.tariff import Tariff
from credits.terms import RateTerms, tariff_of


def tariff_of_rate(rate: Rate) -> Tariff:
    """Return the price function of a rate."""
    return tariff_of(
        RateTerms(
            rate.model, rate.unit_price, rate.terms, rate.included, rate.minimum, rate.maximum
        )
    )
