"""Credits that nobody may use while the payment for them is disputed.

A freeze takes what remains of a purchase out by ledger entries of its own reason, and its end puts
exactly that back. Neither is an end of the grant: what was promised for them stays promised.
"""

from decimal import Decimal

from django.db.models import Q, Sum

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


def is_frozen(grant: CreditGrant) -> bool:
    """Tell whether a purchase is frozen; all of a chain of linked grants is, or none."""
    root_id = grant.root_id or grant.pk
    last = (
        LedgerTransaction.objects.filter(
            Q(grant=root_id) | Q(grant__root=root_id), reason_code__in=OF_DISPUTES
        )
        .order_by("position")
        .last()
    )
    return last is not None and last.reason_code == FROZEN
