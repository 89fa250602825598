"""Undo a void or an early expiry that was a mistake: formally, with its reason, at most once."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Sum

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Insufficient, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.quantity import plain
from credits.models import ClawBack, CreditGrant, LedgerKind, LedgerTransaction
from credits.selectors.frozen import is_frozen
from credits.selectors.lapsed import LATE_USAGE
from credits.services.entries import enter
from credits.services.grants import RESERVED_REASONS
from metering.services.customers import lock_customer

_TAKEN = (LedgerKind.VOIDED, LedgerKind.EXPIRED, LedgerKind.REINSTATED)


def reinstatable(grant: CreditGrant) -> Decimal:
    """Return how many credits a void or an early expiry took and nobody gave back."""
    moves = grant.transactions.filter(kind__in=_TAKEN).exclude(reason_code=LATE_USAGE)
    return -(moves.aggregate(total=Sum("credits"))["total"] or Decimal(0))


@transaction.atomic
def reinstate_grant(
    *, grant: CreditGrant, reason_code: str, by: User, at: datetime
) -> LedgerTransaction:
    """Give back all that a void or an early expiry took, effective now.

    Raises:
        Invalid: no reason.
        Insufficient: nothing is left to be reinstated.
        Conflict: the grant's time is over, or it was clawed back.
    """
    if not reason_code.strip() or reason_code in RESERVED_REASONS:
        raise Invalid("reinstating credits needs its own reason code", field="reason_code")
    lock_customer(grant.customer_id)
    if grant.expires_at is not None and grant.expires_at <= at:
        raise Conflict(
            f"grant {grant.pk} ended on {grant.expires_at.isoformat()}: give a new one",
            code="grant_is_over",
        )
    if is_frozen(grant):
        raise Conflict(f"grant {grant.pk} is frozen: its payment is disputed", code="frozen")
    if ClawBack.objects.filter(purchase_key=_purchase(grant)).exists():
        raise Conflict(f"grant {grant.pk} was clawed back: its price is not paid any more")
    taken = reinstatable(grant)
    if taken <= 0:
        raise Insufficient(f"nothing was taken from grant {grant.pk} that is not back")
    count = grant.transactions.filter(kind=LedgerKind.REINSTATED).count()
    entry = enter(
        grant,
        LedgerKind.REINSTATED,
        taken,
        reason_code=reason_code,
        effective_at=at,
        at=at,
        by=by,
        source_key=f"grant:{grant.pk}:reinstated:{count + 1}",
    )
    audit.record(
        by=by, at=at, action="reinstate_grant", subject=grant, reason=reason_code,
        credits=plain(taken),
    )  # fmt: skip
    return entry


def _purchase(grant: CreditGrant) -> str:
    return grant.root.source_key if grant.root else grant.source_key
