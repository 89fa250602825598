"""Freeze what is unused of a purchase while its payment is disputed, and let it go again."""

from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from billing_project.kernel import audit
from billing_project.kernel.models import User
from billing_project.kernel.quantity import plain
from credits.models import CreditGrant, LedgerKind, LedgerTransaction
from credits.selectors.frozen import FROZEN, THAWED, frozen_credits
from credits.services.entries import enter
from metering.services.customers import lock_customer


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
    entries: list[LedgerTransaction] = []
    for member in _chain(grant.root or grant):
        key = f"{reason}:{reference}:grant:{member.pk}"
        amount = -member.remaining if kind == LedgerKind.VOIDED else frozen_credits(member)
        if not amount or LedgerTransaction.objects.filter(source_key=key).exists():
            continue
        entry = enter(
            member, kind, amount, reason_code=reason, effective_at=at, at=at, by=by,
            source_key=key,
        )  # fmt: skip
        audit.record(
            by=by, at=at, action="freeze_grant" if amount < 0 else "thaw_grant", subject=member,
            reason=reason, reference=reference, credits=plain(abs(amount)),
        )  # fmt: skip
        entries.append(entry)
    return entries


def _chain(sold: CreditGrant) -> QuerySet[CreditGrant]:
    return CreditGrant.objects.filter(Q(pk=sold.pk) | Q(root=sold)).order_by("pk")
