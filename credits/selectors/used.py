"""How much of a purchase or a gift was used, and what is said when the rest is taken."""

from decimal import Decimal

from django.db.models import Q, Sum

from billing_project.kernel.quantity import plain
from credits.models import CreditGrant, LedgerKind, LedgerTransaction

_USES = (LedgerKind.DRAWN, LedgerKind.RETURNED)


def used_of(grant: CreditGrant) -> Decimal:
    """Sum what usage drew of a grant and of those linked to it, net of what came back."""
    uses = LedgerTransaction.objects.filter(
        Q(grant=grant) | Q(grant__root=grant), kind__in=_USES
    ).aggregate(total=Sum("credits"))
    return -(uses["total"] or Decimal(0))


def used_stays(grant: CreditGrant) -> str:
    """Say what of a grant stays used when the rest is taken; "" if nothing was used."""
    used = used_of(grant)
    if not used:
        return ""
    return f"{plain(used)} of {plain(grant.amount)} credits were used and stay used."


def holder_of(grant: CreditGrant) -> CreditGrant | None:
    """Return the first grant of a chain with credits left, as the database has it; or none."""
    chain = CreditGrant.objects.filter(Q(pk=grant.pk) | Q(root=grant), remaining__gt=0)
    return chain.order_by("pk").first()
