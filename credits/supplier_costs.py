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
    """What one supplier charges for one token from an instant on, until its next price.

    `until`: from then on the price before counts again; None: it lasts. `unit_price`: None where it
    is in another currency; it ends the price before all the same.
    """

    supplier: str
    model: str
    kind: str
    unit_price: Decimal | None
    effective_at: datetime
    until: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Tell whether it is in force at an instant, unless a later one is."""
        return self.effective_at <= at and (self.until is None or at < self.until)


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
    Bolt's 6. Acme at 5 from January, in another currency from March: 5 until March, then nothing.
    Spans of one model and kind never overlap; there is a gap only where no price in the currency is
    in force.

    Args:
        prices: By the number of their sheets: of two from the same instant on the last counts.
    """
    by_key: dict[tuple[str, str], list[PriceFrom]] = defaultdict(list)
    for price in prices:
        by_key[price.model, price.kind].append(price)
    return [span for key in sorted(by_key) for span in _spans(by_key[key])]


def _spans(prices: list[PriceFrom]) -> list[PriceSpan]:
    """Walk through the instants of one model and kind; a span goes on while nothing differs."""
    found: list[PriceSpan] = []
    instants = sorted(
        {price.effective_at for price in prices} | {price.until for price in prices if price.until}
    )
    for start, end in zip(instants, [*instants[1:], None], strict=True):
        newest: dict[str, PriceFrom] = {}
        for one in sorted(prices, key=lambda price: price.effective_at):  # Stable: the last wins.
            if one.holds(start):
                newest[one.supplier] = one
        known = [
            (one.unit_price, one.supplier) for one in newest.values() if one.unit_price is not None
        ]
        if not known:
            continue
        unit_price, supplier = max(known)
        begin, last = start, found[-1] if found else None
        if last and (last.unit_price, last.supplier, last.end) == (unit_price, supplier, start):
            begin = found.pop().start
        one = prices[0]
        found.append(PriceSpan(one.model, one.kind, unit_price, supplier, begin, end))
    return found
