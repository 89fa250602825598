"""Freeze what is unused of a purchase while its payment is disputed, and let it go again.

Where nothing is unused, an entry over no credits says so: what comes back to the purchase meanwhile
is frozen in the transaction that brings it back, before anything can be used of it.
"""

from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Q, QuerySet

from billing_project.kernel import audit
from billing_project.kernel.models import User
from billing_project.kernel.quantity import plain
from credits.models import CreditGrant, LedgerKind, LedgerTransaction
from credits.selectors.frozen import FROZEN, THAWED, frozen_credits, is_frozen
from credits.services.entries import enter
from metering.services.customers import lock_customer

_NONE = Decimal(0)


@transaction.atomic
def freeze_grant(
    *, grant: CreditGrant, reference: str, by: User, at: datetime
) -> list[LedgerTransaction]:
    """Take what remains of a purchase, of its linked grants too, out of use; used stays used.

    Args:
        reference: The dispute's own name; the same again freezes nothing more.
    """
    return _each(grant, LedgerKind.VOIDED, FROZEN, reference, by, at)


@transaction.atomic
def thaw_grant(
    *, grant: CreditGrant, reference: str, by: User, at: datetime
) -> list[LedgerTransaction]:
    """Put back what a freeze took; a claw back may take it again."""
    return _each(grant, LedgerKind.REINSTATED, THAWED, reference, by, at)


def _each(
    grant: CreditGrant, kind: LedgerKind, reason: str, reference: str, by: User, at: datetime
) -> list[LedgerTransaction]:
    lock_customer(grant.customer_id)
    sold = grant.root or grant
    was_frozen = is_frozen(sold)
    entries: list[LedgerTransaction] = []
    for member in _chain(sold):
        amount = -member.remaining if kind == LedgerKind.VOIDED else frozen_credits(member)
        if amount and (entry := _enter(member, kind, amount, reason, reference, by, at)):
            entries.append(entry)
    if not entries and was_frozen == (kind == LedgerKind.REINSTATED):
        _enter(sold, kind, _NONE, reason, reference, by, at)
    return entries


def _enter(
    member: CreditGrant, kind: LedgerKind, amount: Decimal, reason: str, reference: str, by: User,
    at: datetime,
) -> LedgerTransaction | None:  # fmt: skip
    """Write an entry, once for each reference; over no credits, it only tells of the dispute."""
    key = f"{reason}:{reference}:grant:{member.pk}{'' if amount else ':nothing'}"
    if LedgerTransaction.objects.filter(source_key=key).exists():
        return None
    entry = enter(
        member, kind, amount, reason_code=reason, effective_at=at, at=at, by=by, source_key=key
    )
    audit.record(
        by=by, at=at, action="freeze_grant" if kind == LedgerKind.VOIDED else "thaw_grant",
        subject=member, reason=reason, reference=reference, credits=plain(abs(amount)),
    )  # fmt: skip
    return entry


def _chain(sold: CreditGrant) -> QuerySet[CreditGrant]:
    return CreditGrant.objects.filter(Q(pk=sold.pk) | Q(root=sold)).order_by("pk")
