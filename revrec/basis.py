"""What the credits of a grant cost, and when that cost becomes revenue.

Movements of one grant's ledger come in; releases of its contract liability go out, in minor units.
Each grant keeps its own basis for good: list prices and other grants do not matter.
Source: IFRS 15.B44-B47, 35(a); accounting.md 1.3 and rules 5, 24, 31.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from operator import attrgetter

from billing_project.kernel.money import prorate
from revrec.by_model import Part, cut_by_model, used_by_model


@dataclass(frozen=True)
class CostBasis:
    """What was paid for a grant, over its credits; fixed when the grant was issued.

    A credit note changes no basis. It lowers what may be released in all, `bound_minor`: the price
    where there is none.
    """

    price_minor: int
    credits: Decimal
    bound_minor: int | None = None

    def earned(self, used: Decimal) -> int:
        """Return what so many used credits have earned in all, in minor units."""
        return prorate(self.price_minor, used, self.credits)

    def left(self, recognised_minor: int) -> int:
        """Return what may still be released."""
        bound = self.price_minor if self.bound_minor is None else self.bound_minor
        return bound - recognised_minor


@dataclass(frozen=True)
class Movement:
    """One ledger transaction of a grant after it was granted."""

    transaction_id: int
    service_on: date
    credits: Decimal  # Signed as in the ledger: use is negative.
    ends_grant: bool = False  # Expired or voided, or such an end undone (positive).
    model: str | None = None  # Whose usage it paid for.


@dataclass(frozen=True)
class Release:
    """What moves from the contract liability to revenue; negative when credits came back."""

    service_on: date
    amount_minor: int
    is_breakage: bool
    transaction_ids: tuple[int, ...]
    by_model: tuple[Part, ...] = ()  # Of use: which model earned how much of it.


def caught_up(basis: CostBasis, used: Decimal, ended: Decimal) -> tuple[int, int]:
    """Return what credits earn at once that get their price only now: by use, and as breakage.

    Args:
        used, ended: Credits that were used, and that expired or were voided, until now.
    """
    earned = basis.earned(used)
    return earned, _broken(basis, used, ended, earned, False) if ended else 0


def repriced(
    before: CostBasis, after: CostBasis, used: Decimal, ended: Decimal, recognised_minor: int
) -> tuple[int, int]:
    """Return what a new price of credits earns, or takes back: by use, and by their end.

    Args:
        used, ended: Credits that were used, and that expired or were voided, until now.
        recognised_minor: What was earned at the price of before.
    """
    earned = after.earned(used) - before.earned(used)
    if not ended:
        return earned, 0
    left = after.left(recognised_minor + earned)
    still_open = after.credits - used - ended
    return earned, left - (after.earned(used + still_open) - after.earned(used))


def releases(
    basis: CostBasis,
    used: Decimal,
    recognised_minor: int,
    movements: Iterable[Movement],
    ended: Decimal = Decimal(0),
) -> Iterator[Release]:
    """Account for new movements of a grant and of those linked to it, in the order of their ledger.

    Args:
        used: Credits used, net of returned ones, that were accounted for already.
        recognised_minor: What the grant has earned so far, breakage included.
        movements: New ones, ascending by transaction; what moved between linked grants is left out.
        ended: Credits that expired or were voided, net of undone ends, accounted for already.

    Returns:
        One release for each service day of use, and one for each end, which takes what the credits
        that are still open do not need; the last end takes whatever may still be released.
        Returned credits are released at the basis they had.
    """
    for ends, run in groupby(movements, key=attrgetter("ends_grant")):
        if ends:
            for end in run:
                ended -= end.credits
                amount = _broken(basis, used, ended, recognised_minor, end.credits > 0)
                recognised_minor += amount
                yield Release(end.service_on, amount, True, (end.transaction_id,))
            continue
        for service_on, day in _by_day(run):
            uses = used_by_model((movement.model, -movement.credits) for movement in day)
            parts = cut_by_model(used, uses, basis.earned)
            used += sum(uses.values(), Decimal(0))
            amount = sum(minor for _, minor in parts)
            recognised_minor += amount
            ids = tuple(movement.transaction_id for movement in day)
            yield Release(service_on, amount, False, ids, parts)


def _broken(
    basis: CostBasis, used: Decimal, ended: Decimal, recognised_minor: int, is_undone: bool
) -> int:
    """Return what an end releases, or, negative, what an undone one puts back.

    The liability keeps what the open credits can still earn by use, to the last minor unit.
    """
    left = basis.left(recognised_minor)
    still_open = basis.credits - used - ended
    if not still_open:
        return left
    surplus = left - (basis.earned(used + still_open) - basis.earned(used))
    return min(0, surplus) if is_undone else max(0, surplus)


def _by_day(run: Iterable[Movement]) -> Iterator[tuple[date, Sequence[Movement]]]:
    by_day = attrgetter("service_on")
    for service_on, day in groupby(sorted(run, key=by_day), key=by_day):
        yield service_on, list(day)
