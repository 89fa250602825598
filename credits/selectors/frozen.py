"""Credits that nobody may use while the payment for them is disputed.

A freeze takes what remains of a purchase out by ledger entries of its own reason, and its end puts
exactly that back; where nothing remains, an entry over no credits tells of either. Neither is an
end of the grant: what was promised for them stays promised.
"""

from datetime import datetime
from decimal import Decimal

from django.db.models import Max, Q, Sum

from credits.models import CreditGrant, LedgerKind, LedgerTransaction

FROZEN, THAWED = "disputed", "dispute_closed"
OF_DISPUTES = (FROZEN, THAWED)


def frozen_credits(grant: CreditGrant) -> Decimal:
    """Return what is frozen of one grant."""
    moves = grant.transactions.filter(
        Q(kind=LedgerKind.VOIDED, reason_code=FROZEN)
        | Q(kind=LedgerKind.REINSTATED, reason_code=THAWED)
    )
    return -(moves.aggregate(total=Sum("credits"))["total"] or Decimal(0))


def thawed_at(grant: CreditGrant) -> datetime | None:
    """Return when what was frozen of one grant came free last; None if never."""
    entries = grant.transactions.filter(
        kind=LedgerKind.REINSTATED, reason_code=THAWED, credits__gt=0
    )
    last: datetime | None = entries.aggregate(last=Max("effective_at"))["last"]
    return last


def is_frozen(grant: CreditGrant) -> bool:
    """Tell whether a purchase is frozen; all of a chain of linked grants is, or none."""
    return frozen_at(grant) is not None


def frozen_at(grant: CreditGrant) -> datetime | None:
    """Return since when a purchase is frozen; None where it is not.

    What usage gave back meanwhile is frozen, too, and changes nothing of that.
    """
    root_id = grant.root_id or grant.pk
    last = (
        LedgerTransaction.objects.filter(
            Q(grant=root_id) | Q(grant__root=root_id), reason_code__in=OF_DISPUTES
        )
        .exclude(source_key__startswith="window:")
        .order_by("position")
        .last()
    )
    return last.effective_at if last is not None and last.reason_code == FROZEN else None
