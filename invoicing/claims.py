"""How far the overage of a period is claimed, and what a credit note on it means.

Usage of a period may fall after it was invoiced. What is claimed then beyond it is an overcharge; a
note takes that back first, and only the rest of the note is a concession. Both are decided once,
when the note is issued, and stored with it. Whatever the order of events, a period ends on

    charge = what its usage is worth - concessions, and never less than nothing.
"""

from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.money import Money, settle
from billing_project.kernel.quantity import round_unrounded
from invoicing.lines import OveragePrice

_NONE = Decimal(0)


@dataclass(frozen=True)
class Claim:
    """What issued invoices claim of a period's overage, and what notes conceded of it.

    Attributes:
        credits, minor: On issued lines, less what notes evened out; minor is the settled price of
            credits.
        conceded_minor: What notes took off beyond overcharges; it lowers no claim.
    """

    credits: Decimal
    minor: int
    conceded_minor: int


@dataclass(frozen=True)
class Evened:
    """The part of a note that takes back an overcharge, in money and in credits."""

    minor: int
    credits: Decimal


def worth(credit_count: Decimal, price: OveragePrice) -> int:
    """Return the settled price of so many credits, in minor units."""
    return settle(credit_count * price.unit_price, price.currency)


def overcharge(claim: Claim, used: Decimal, price: OveragePrice) -> int:
    """Return what is claimed beyond what was used, in minor units.

    What was conceded before is not claimed any more, so that nobody is owed it twice.
    """
    return max(0, claim.minor - max(worth(used, price), claim.conceded_minor))


def even_out(claim: Claim, used: Decimal, price: OveragePrice, amount_minor: int) -> Evened:
    """Divide a note: up to the overcharge it evens out, the rest is a concession.

    Args:
        used: The period's overage so far, in credits.
        amount_minor: What the note takes off, > 0.

    Returns:
        minor = min(amount, overcharge). The credits go with it: what stays claimed is exactly what
        was used, or else the credits that the money left would buy, to 12 decimals.
    """
    minor = min(amount_minor, overcharge(claim, used, price))
    if not minor:
        return Evened(0, _NONE)
    left = claim.minor - minor
    if left == worth(used, price):
        return Evened(minor, claim.credits - used)
    bought = round_unrounded(Money(left, price.currency).decimal / price.unit_price)
    return Evened(minor, claim.credits - bought)
