"""Which supplier's price holds at an instant."""

from collections.abc import Collection
from datetime import datetime
from typing import TypeAlias

from django.db.models import F, Q, QuerySet

from billing_project.kernel.models import PolicyStatus
from credits.models import SupplierRate

Key: TypeAlias = tuple[str, str, str]  # Supplier, model, token kind.


def standing_rates() -> QuerySet[SupplierRate]:
    """List the prices that count: of approved sheets, and those of before there were any."""
    approved = Q(sheet__policy_change__status=PolicyStatus.APPROVED)
    return SupplierRate.objects.filter(Q(sheet__isnull=True) | approved)


def prices_at(at: datetime, suppliers: Collection[str] | None = None) -> dict[Key, SupplierRate]:
    """Return the price in force of each supplier, model and token kind.

    Of two from the same instant on that of the later sheet counts, whichever was approved first.
    """
    goes_on = Q(sheet__policy_change__expires_at__isnull=True)
    goes_on |= Q(sheet__policy_change__expires_at__gt=at)
    rows = standing_rates().filter(goes_on, effective_at__lte=at)
    if suppliers is not None:
        rows = rows.filter(supplier__in=suppliers)
    keys = ("supplier", "model", "token_kind")
    later = F("sheet__number").desc(nulls_last=True)
    newest = rows.order_by(*keys, "-effective_at", later, "-id").distinct(*keys)
    return {(row.supplier, row.model, row.token_kind): row for row in newest}


def dearest_at(at: datetime, currency: str) -> dict[tuple[str, str], SupplierRate]:
    """Return the price in force of each model and token kind, in one currency.

    Where several suppliers sell the model the dearest stands for all, so that no margin is
    overstated.
    """
    found: dict[tuple[str, str], SupplierRate] = {}
    for row in prices_at(at).values():
        key = (row.model, row.token_kind)
        if row.currency == currency and (
            key not in found or row.unit_price > found[key].unit_price
        ):
            found[key] = row
    return found
