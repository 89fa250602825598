"""From when until when a price of a supplier holds: recorded prices in, spans out.

Where several suppliers sell a model the dearest stands for all, so that no margin is overstated.
Knows no customers and no usage.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True)
class PriceFrom:
    """What one supplier charges for one token from an instant on, until its next price."""

    supplier: str
    model: str
    kind: str
    unit_price: Decimal
    effective_at: datetime


@dataclass(frozen=True)
class PriceSpan:
    """What a token costs in [start, end); `end` None: until further notice."""

    model: str
    kind: str
    unit_price: Decimal
    supplier: str
    start: datetime
    end: datetime | None


def spans_of(prices: Iterable[PriceFrom]) -> list[PriceSpan]:
    """Return who is the dearest when, by model and token kind.

    Acme at 5 from January, Bolt at 4 from January and at 6 from March: Acme's 5 until March, then
    Bolt's 6. Spans of one model and kind follow one another without a gap and never overlap.

    Args:
        prices: All in one currency, in any order; one for each supplier and instant.
    """
    by_key: dict[tuple[str, str], list[PriceFrom]] = defaultdict(list)
    for price in prices:
        by_key[price.model, price.kind].append(price)
    return [span for key in sorted(by_key) for span in _spans(by_key[key])]


def _spans(prices: list[PriceFrom]) -> list[PriceSpan]:
    """Walk through the instants of one model and kind; a span goes on while nothing differs."""
    found: list[PriceSpan] = []
    in_force: dict[str, PriceFrom] = {}
    instants = sorted({price.effective_at for price in prices})
    ends = [*instants[1:], None]
    for start, end in zip(instants, ends, strict=True):
        in_force |= {one.supplier: one for one in prices if one.effective_at == start}
        best = max(in_force.values(), key=lambda one: (one.unit_price, one.supplier))
        last = found[-1] if found else None
        if last and (last.unit_price, last.supplier) == (best.unit_price, best.supplier):
            start = found.pop().start
        found.append(PriceSpan(best.model, best.kind, best.unit_price, best.supplier, start, end))
    return found
