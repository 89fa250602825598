"""What a quantity would be charged by the rates that govern; nothing is rated by asking."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.period import hour_of
from credits.models import Rate
from credits.selectors.facts import Rulebook
from credits.selectors.tariffs import tariff_of_rate
from credits.tariff import ChargeOutOfBounds
from metering.aggregation import dimensions_key
from metering.models import UsageWindow


@dataclass(frozen=True)
class Reading:
    """A quantity of one meter, and when it was used."""

    customer_id: int
    meter_id: int
    workspace_id: int | None
    dimensions: Mapping[str, str | None]
    at: datetime
    quantity: Decimal


def worth_of(groups: Iterable[list[Reading]]) -> list[dict[str, Decimal]]:
    """Return what each group would be charged, by pricing unit.

    What has no rate, or is more than can be charged, adds nothing: its usage waits.
    """
    rules: dict[int, Rulebook] = {}
    found = [[(one, _rate(one, rules)) for one in group] for group in groups]
    units = _units({rate.pk for group in found for _, rate in group if rate})
    return [_charged(group, units) for group in found]


def _rate(reading: Reading, rules: dict[int, Rulebook]) -> Rate | None:
    """Find the rate; a customer's rules are read once."""
    if reading.customer_id not in rules:
        rules[reading.customer_id] = Rulebook(reading.customer_id)
    return rules[reading.customer_id].rate_of(_window(reading))


def _charged(group: list[tuple[Reading, Rate | None]], units: dict[int, str]) -> dict[str, Decimal]:
    charges: dict[str, Decimal] = {}
    for reading, rate in group:
        if rate is None:
            continue
        with suppress(ChargeOutOfBounds):
            unit, charge = units[rate.pk], tariff_of_rate(rate).charge(reading.quantity).total
            charges[unit] = charges.get(unit, Decimal(0)) + charge
    return charges


def _units(rate_ids: set[int]) -> dict[int, str]:
    rates = Rate.objects.filter(pk__in=rate_ids)
    return dict(rates.values_list("pk", "version__rate_card__pricing_unit__code"))


def _window(reading: Reading) -> UsageWindow:
    """Make the window that such a quantity would be in; it is never saved."""
    return UsageWindow(
        customer_id=reading.customer_id,
        meter_id=reading.meter_id,
        workspace_id=reading.workspace_id,
        dimensions=dict(reading.dimensions),
        dimensions_key=dimensions_key(reading.dimensions),
        start_at=hour_of(reading.at),
    )
