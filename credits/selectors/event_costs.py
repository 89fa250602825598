"""What one event costs us: what each meter counts of it, times the supplier's price of its hour.

The same prices as of windows, so that the costs of a window's events sum to the window's; exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.period import HOUR, hour_of
from credits.selectors.remembered import approved_rules
from credits.selectors.supplier_costs import cost_currency, price_spans, token_meters
from credits.selectors.supplier_rates import prices_at
from credits.supplier_costs import PriceSpan
from metering.aggregation import Value, dimensions_of


@dataclass(frozen=True)
class PartCost:
    """What a meter counts of an event, and what that costs us; no price: nobody told one.

    Attributes:
        price_from: From when on the supplier's price holds.
        sheet: The number of the approved sheet that it came in; None of before there were any.
    """

    meter: str
    model: str
    kind: str
    quantity: Decimal
    unit_price: Decimal | None = None
    supplier: str = ""
    price_from: datetime | None = None
    sheet: int | None = None

    @property
    def cost(self) -> Decimal | None:
        """Major units, exact; None without a price."""
        return None if self.unit_price is None else self.quantity * self.unit_price


@dataclass(frozen=True)
class EventCost:
    """All of one event, in one currency."""

    currency: str
    parts: tuple[PartCost, ...]

    @property
    def amount(self) -> Decimal:
        """Major units, exact; what has no price is not in it."""
        return sum((part.cost or Decimal(0) for part in self.parts), Decimal(0))

    @property
    def is_whole(self) -> bool:
        """Tell whether each part has a supplier's price."""
        return all(part.unit_price is not None for part in self.parts)


def event_cost(event_name: str, properties: Mapping[str, Value], at: datetime) -> EventCost:
    """Cost an event with the properties that count, at its own time, by kind of token.

    Meters that do not add up in tokens cost nothing by themselves.
    """
    currency, kinds, hour = cost_currency(), token_meters(), hour_of(at)
    spans = price_spans(currency, hour + HOUR)
    parts = []
    for rule in approved_rules().readers.get(event_name, ()):
        if rule.id not in kinds or not rule.governs(at) or not rule.admits(properties):
            continue
        quantity = rule.quantity_of(properties)
        if quantity is None:
            continue
        said = dimensions_of(rule.dimensions, properties)
        model, kind = said.get("model") or "", kinds[rule.id] or said.get("token_kind") or ""
        part = PartCost(rule.code, model, kind, quantity)
        span = next((one for one in spans if _holds(one, model, kind, hour)), None)
        parts.append(_priced(part, span, hour) if span else part)
    return EventCost(currency, tuple(sorted(parts, key=lambda part: (part.meter, part.kind))))


def _holds(span: PriceSpan, model: str, kind: str, hour: datetime) -> bool:
    return (
        (span.model, span.kind) == (model, kind)
        and span.start <= hour
        and (span.end is None or hour < span.end)
    )


def _priced(part: PartCost, span: PriceSpan, hour: datetime) -> PartCost:
    rate = prices_at(hour, [span.supplier]).get((span.supplier, span.model, span.kind))
    return PartCost(
        part.meter, part.model, part.kind, part.quantity, span.unit_price, span.supplier,
        rate.effective_at if rate else span.start,
        rate.sheet.number if rate and rate.sheet else None,
    )  # fmt: skip
