"""What is not delivered yet of an invoice line whose contract changed, and which promise owes it.

A change moves what is left of promises into one of them: how much of what that one still owes is
whose follows from the amounts that each entry moved, and from what stood there after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from django.db.models import Sum

from revrec.models import ObligationKind, PerformanceObligation, Posting
from revrec.posting import Account
from revrec.selectors.modifications import moved, taker_of


@dataclass(frozen=True)
class Stake:
    """What a line's own price still has in a promise: its own, or one that took it over.

    Rounded down: several lines may end together, and must not end more than the promise owes.
    """

    owed_by: PerformanceObligation
    left_minor: int


def stake_of(promise: PerformanceObligation) -> Stake | None:
    """Return what is left of a fee's own price; None where its contract did not change."""
    if promise.kind != ObligationKind.FEE or not moved(promise).exists():
        return None
    bearer, since, share = promise, 0, Fraction(1)
    while (given := _given(bearer, since)) is not None:
        share *= _kept(bearer, since, given.entry_id)
        bearer = taker_of(given)
        share *= Fraction(given.amount_minor, _owed_after(bearer, given.entry_id))
        since = given.entry_id
    share *= _kept(bearer, since, None)
    left = max(bearer.price_minor - bearer.recognised_minor, 0)
    return Stake(bearer, left * share.numerator // share.denominator)


def _given(promise: PerformanceObligation, since: int) -> Posting | None:
    """Return what a promise handed on next, after an entry."""
    found = moved(promise).filter(amount_minor__gt=0, entry_id__gt=since)
    return found.order_by("entry_id").first()


def _kept(promise: PerformanceObligation, since: int, until: int | None) -> Fraction:
    """Return which share of a promise is still of those before, after what it took over since."""
    share = Fraction(1)
    for entry_id, taken in _takings(promise, since, until):
        whole = _owed_after(promise, entry_id)
        share *= Fraction(whole - taken, whole)
    return share


def _takings(
    promise: PerformanceObligation, since: int, until: int | None
) -> Iterator[tuple[int, int]]:
    rows = moved(promise).filter(amount_minor__lt=0, entry_id__gt=since)
    if until is not None:
        rows = rows.filter(entry_id__lt=until)
    for entry_id, minor in rows.order_by("entry_id").values_list("entry_id", "amount_minor"):
        yield entry_id, -minor


def _owed_after(promise: PerformanceObligation, entry_id: int) -> int:
    """Return what a promise owed once an entry had moved something into it: more than nothing."""
    posted = Posting.objects.filter(
        obligation=promise, account=Account.FEES_LIABILITY.value, entry_id__lte=entry_id
    )
    return max(-(posted.aggregate(sum=Sum("amount_minor"))["sum"] or 0), 1)
