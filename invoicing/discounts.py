"""What discounts take off the lines of one invoice: before tax, shared by largest remainder. Pure.

Offers apply in their order, each to what the ones before left. The parts always sum to what an
offer takes off in all, which is rounded once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from billing_project.kernel.money import Money, allocate, prorate
from billing_project.kernel.quantity import plain
from invoicing.lines import Discounted, Line

_HUNDRED = Decimal(100)


@dataclass(frozen=True)
class Offer:
    """A discount that holds for an invoice.

    Attributes:
        name: What the line says of it: "LAUNCH20".
        percent: Of what is left of the lines; None: an amount.
        amount_minor: Off all the lines together, as far as they reach.
        kinds: Kinds of lines that it lowers.
        item_id, redemption_id: Where it comes from: a plan's item, or a coupon.
    """

    name: str
    percent: Decimal | None
    amount_minor: int
    kinds: tuple[str, ...]
    item_id: int | None = None
    redemption_id: int | None = None


def discounted(lines: Sequence[Line], offers: Sequence[Offer], currency: str) -> list[Line]:
    """Lower lines by the offers that hold; lines of other kinds stay.

    Returns:
        The lines in their order; sum before - sum after = sum of what the offers take off.
    """
    found = list(lines)
    for offer in offers:
        found = _taken_off(found, offer, currency)
    return found


def _taken_off(lines: list[Line], offer: Offer, currency: str) -> list[Line]:
    """Apply one offer: rounded once over all lines that it lowers, then shared among them."""
    weights = [line.amount_minor if line.kind in offer.kinds else 0 for line in lines]
    whole = sum(weights)
    if not whole:
        return lines
    off = (
        min(offer.amount_minor, whole)
        if offer.percent is None
        else prorate(whole, offer.percent, _HUNDRED)
    )
    parts = allocate(off, weights)
    return [_lowered(line, part, offer, currency) for line, part in zip(lines, parts, strict=True)]


def _lowered(line: Line, part: int, offer: Offer, currency: str) -> Line:
    if not part:
        return line
    share = f"{plain(offer.percent)}% " if offer.percent is not None else ""
    taken = Discounted(offer.name, part, offer.item_id, offer.redemption_id)
    return replace(
        line,
        amount_minor=line.amount_minor - part,
        description=f"{line.description}; {offer.name} {share}-{Money(part, currency).decimal:f}",
        discounts=(*line.discounts, taken),
    )
