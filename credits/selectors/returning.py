"""Where credits go that come back to a grant: to it, to a linked one, or nowhere."""

from dataclasses import dataclass
from datetime import datetime

from credits.models import CreditGrant, LedgerKind, LedgerTransaction
from credits.selectors.frozen import OF_DISPUTES, frozen_at
from credits.selectors.lapsed import OF_USAGE
from credits.selectors.taken import clawed_at, voided_at

_ENDINGS = (
    LedgerKind.VOIDED,
    LedgerKind.EXPIRED,
    LedgerKind.ROLLED_OVER,
    LedgerKind.REINSTATED,
)
_NO_ENDINGS = (*OF_USAGE, *OF_DISPUTES)  # Reasons: nobody ended the grant.


@dataclass(frozen=True)
class Fate:
    """What becomes of credits that come back.

    Attributes:
        is_ended: Time or a person ended the grant: a linked one takes them.
        void_at: Since when they are void, and nobody gets them; None where they are not.
        frozen_at: Since when their payment is disputed: nobody uses them until that ends.
    """

    is_ended: bool
    void_at: datetime | None
    frozen_at: datetime | None


def fate_of(grant: CreditGrant, at: datetime) -> Fate:
    """Tell where credits go that come back to a grant.

    A voided grant keeps none of them, nor does one whose price went back. Nor do they go to a
    linked grant where the void of another one of the chain stands. A dispute is no void: they are
    frozen where they belong.
    """
    ending = _ending(grant)
    is_over = grant.expires_at is not None and grant.expires_at <= at
    is_ended = is_over or (ending is not None and ending.kind != LedgerKind.REINSTATED)
    return Fate(is_ended, _void_at(grant, ending, is_ended=is_ended), frozen_at(grant))


def _ending(grant: CreditGrant) -> LedgerTransaction | None:
    """Find what a person or time did last to a grant as a whole."""
    endings = LedgerTransaction.objects.filter(grant=grant, kind__in=_ENDINGS)
    return endings.exclude(reason_code__in=_NO_ENDINGS).order_by("-position").first()


def _void_at(
    grant: CreditGrant, ending: LedgerTransaction | None, *, is_ended: bool
) -> datetime | None:
    if ending is not None and ending.kind == LedgerKind.VOIDED:
        return ending.effective_at
    root = grant.root or grant
    void_at = clawed_at(root)
    if void_at is None and is_ended:
        void_at = voided_at([root.pk], but_for=_NO_ENDINGS).get(root.pk)
    return max(void_at, grant.effective_at) if void_at else None
