"""Take back what a purchase gave once its money went back: what is unused, and once."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Q, QuerySet

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.quantity import plain
from credits.models import (
    ClawBack,
    ClawBackReason,
    CreditGrant,
    GrantCategory,
    LedgerKind,
    RefundRule,
)
from credits.selectors.frozen import is_frozen
from credits.selectors.used import used_of
from credits.services.entries import enter
from metering.services.customers import lock_customer

_LONGEST = 120


@transaction.atomic
def claw_back(
    *, grant: CreditGrant, reason: str, reference: str, by: User, at: datetime
) -> ClawBack:
    """Take back what is unused of a purchase, of its linked grants too; what was used stays used.

    A refund and a dispute of the same purchase take back once: the second reason is recorded as
    known and takes nothing. The same reason and reference again return the same row.

    Args:
        grant: The purchase's grant, or one that its credits went to.
        reason: "refund" or "dispute".
        reference: The refund's or dispute's own name, 1 to 120 characters.

    Raises:
        Invalid: an unknown reason, or no reference.
        Conflict: the grant was not sold, its terms take nothing back, or its payment is disputed:
            the end of the dispute decides.
        IdempotencyConflict: the reference named another purchase's claw back.
    """
    if reason not in ClawBackReason.values:
        raise Invalid(f"reason is one of {', '.join(ClawBackReason.values)}", field="reason")
    if not 0 < len(reference.strip()) <= _LONGEST:
        raise Invalid(f"a reference has 1 to {_LONGEST} characters", field="reference")
    lock_customer(grant.customer_id)
    sold = grant.root or grant
    _refuse_unsold(sold)
    known = ClawBack.objects.filter(customer_id=sold.customer_id, reason=reason)
    if same := known.filter(reference=reference).first():
        if same.purchase_key != sold.source_key:
            raise IdempotencyConflict(f"{reason} {reference} was of another purchase")
        return same
    if is_frozen(sold):
        raise Conflict(f"grant {sold.pk} is frozen: its payment is disputed", code="frozen")
    return _take_unused(sold, ClawBack(reason=reason, reference=reference), by, at)


def _take_unused(sold: CreditGrant, row: ClawBack, by: User, at: datetime) -> ClawBack:
    """Record a reason; the first of a purchase takes what is left of all its grants."""
    row.follows = ClawBack.objects.filter(purchase_key=sold.source_key, follows=None).first()
    left = [] if row.follows else [member for member in _chain(sold) if member.remaining]
    row.customer_id, row.purchase_key = sold.customer_id, sold.source_key
    row.credits = sum((member.remaining for member in left), Decimal(0))
    row.used, row.recorded_by, row.recorded_at = used_of(sold), by, at
    row.save(force_insert=True)
    for member in left:
        enter(
            member, LedgerKind.VOIDED, -member.remaining, reason_code=f"clawed_back_{row.reason}",
            effective_at=at, at=at, by=by, source_key=f"claw_back:{row.pk}:grant:{member.pk}",
        )  # fmt: skip
    audit.record(
        by=by, at=at, action="claw_back", subject=sold, reason=row.reason,
        reference=row.reference, credits=plain(row.credits), used=plain(row.used),
        is_known=row.follows is not None,
    )  # fmt: skip
    return row


def _refuse_unsold(sold: CreditGrant) -> None:
    if sold.category != GrantCategory.PAID:
        raise Conflict(f"grant {sold.pk} was not paid for: void it instead", code="not_sold")
    if sold.terms is not None and sold.terms.refund_rule == RefundRule.NEVER:
        raise Conflict(f"{sold.terms} takes nothing back", code="not_refundable")


def _chain(sold: CreditGrant) -> QuerySet[CreditGrant]:
    return CreditGrant.objects.filter(Q(pk=sold.pk) | Q(root=sold)).order_by("pk")
