"""Purchases and gifts that were taken back: nothing of theirs may be burned any more."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from django.db.models import F
from django.db.models.functions import Coalesce

from credits.models import ClawBack, CreditGrant, LedgerKind, LedgerTransaction
from credits.selectors.lapsed import OF_USAGE
from credits.selectors.used import holder_of, used_of, used_stays

_VOIDS = (LedgerKind.VOIDED, LedgerKind.REINSTATED)


def clawed_at(root: CreditGrant) -> datetime | None:
    """Return when the price of a purchase went back; None where it did not."""
    row = ClawBack.objects.filter(purchase_key=root.source_key, follows=None).first()
    return row.recorded_at if row else None


def voided_at(
    root_ids: Collection[int], but_for: Collection[str] = OF_USAGE
) -> dict[int, datetime]:
    """Return since when credits of a chain of linked grants are void, by its first grant.

    A chain is void while a person's void of any of its grants stands: what comes back to the
    others, or lapsed in them, is of the same purchase. The newest void says since when.

    Args:
        but_for: Reasons of voids and their ends that are not looked at.
    """
    standing: dict[int, dict[tuple[int, bool], datetime]] = defaultdict(dict)
    root = Coalesce("grant__root_id", F("grant_id"))
    moves = LedgerTransaction.objects.filter(kind__in=_VOIDS).exclude(reason_code__in=but_for)
    rows = moves.annotate(first=root).filter(first__in=root_ids).order_by("position")
    for first, grant_id, kind, effective_at, credits_ in rows.values_list(
        "first", "grant_id", "kind", "effective_at", "credits"
    ):
        void = grant_id, not credits_  # A dispute over nothing ends no void of the grant's own.
        standing[first].pop(void, None)
        if kind == LedgerKind.VOIDED:
            standing[first][void] = effective_at
    return {first: [*voids.values()][-1] for first, voids in standing.items() if voids}


def taken_back(grant_ids: Collection[int]) -> set[int]:
    """Return those of the grants whose chain was voided, or whose price went back."""
    if not grant_ids:
        return set()
    rows = CreditGrant.objects.filter(pk__in=grant_ids).values_list(
        "pk", Coalesce("root_id", F("pk")), Coalesce("root__source_key", F("source_key"))
    )
    chains = {pk: (root_id, key) for pk, root_id, key in rows}
    void = voided_at({root_id for root_id, _ in chains.values()})
    keys = [key for _, key in chains.values()]
    clawed = set(
        ClawBack.objects.filter(purchase_key__in=keys).values_list("purchase_key", flat=True)
    )
    return {pk for pk, (root_id, key) in chains.items() if root_id in void or key in clawed}


def is_taken_back(grant: CreditGrant) -> bool:
    """Tell whether a purchase was taken back and none of its credits remain.

    Args:
        grant: The first of a chain of linked grants; all of the chain counts.
    """
    return holder_of(grant) is None and grant.pk in taken_back([grant.pk])


def why_not_taken_back(grant: CreditGrant) -> str:
    """Say what stands against giving a purchase's price back, and the way; "" if nothing does.

    Args:
        grant: The first of a chain of linked grants; all of the chain counts.
    """
    if is_taken_back(grant):
        return ""
    if holder := holder_of(grant):
        return f"void the grant first (grant {holder.pk})"
    if used_of(grant) == grant.amount:
        return (
            f"all of them were used, so that nothing is left to void; if the price goes back"
            f" nevertheless, claw back the purchase first (grant {grant.pk})"
        )
    said = f"none of them remain to be voided, what was unused lapsed. {used_stays(grant)}".strip()
    return f"{said} Claw back the purchase first (grant {grant.pk})"
