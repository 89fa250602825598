"""A customer's credits: the fold over the ledger, at any instant of the past.

For now the guarded column has the same sum, however long the ledger is; `check_books` compares.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from credits.models import CreditGrant, LedgerTransaction
from metering.models import Customer, Workspace

EXPIRING_SOON = timedelta(days=30)
_ZERO = Decimal(0)


@dataclass(frozen=True)
class Expiring:
    """Credits of one grant that lapse within the next thirty days."""

    grant_id: int
    credits: Decimal
    expires_at: datetime


@dataclass(frozen=True)
class UnitBalance:
    """Credits of one pricing unit.

    `ledger` is what the entries sum to; `available` leaves out what is held and what belongs to
    grants that have expired, even before the expiry is entered.
    """

    pricing_unit: str
    ledger: Decimal
    held: Decimal
    available: Decimal
    expiring: tuple[Expiring, ...]


def balance(
    customer: Customer, at: datetime, workspace: Workspace | None = None
) -> list[UnitBalance]:
    """Return what a customer had at an instant, as it was known then.

    Args:
        workspace: Leaves out grants that are for other workspaces.

    Returns:
        One balance for each pricing unit that the customer ever had credits of, by code.
    """
    sums = _credits_by_grant(customer, at)
    grants = CreditGrant.objects.filter(pk__in=sums)
    return _balances(_of_workspace(grants, workspace), sums, at)


def balance_now(
    customer: Customer, at: datetime, workspace: Workspace | None = None
) -> list[UnitBalance]:
    """Return what a customer has, in one query that reads no past; otherwise as `balance`.

    Args:
        at: Now; what is recorded meanwhile counts, what takes effect later does not.
    """
    grants = CreditGrant.objects.filter(customer=customer, effective_at__lte=at)
    grants = _of_workspace(grants, workspace).annotate(
        now=F("remaining") - Coalesce(Subquery(_credits_ahead(at)), _ZERO)
    )
    found = list(grants)
    return _balances(found, {grant.pk: grant.now for grant in found}, at)


def ledger_history(
    customer: Customer | None = None, grant: CreditGrant | None = None
) -> QuerySet[LedgerTransaction]:
    """List ledger transactions, newest first."""
    rows = LedgerTransaction.objects.select_related(
        "customer", "grant__pricing_unit", "rated_usage", "credit_policy"
    )
    if customer is not None:
        rows = rows.filter(customer=customer)
    if grant is not None:
        rows = rows.filter(grant=grant)
    return rows.order_by("-pk")


def _credits_by_grant(customer: Customer, at: datetime) -> dict[int, Decimal]:
    rows = LedgerTransaction.objects.filter(
        customer=customer, effective_at__lte=at, recorded_at__lte=at
    )
    return dict(rows.order_by().values_list("grant_id").annotate(total=Sum("credits")))


def _credits_ahead(at: datetime) -> QuerySet[LedgerTransaction, Decimal]:
    """Sum what moves a grant only after an instant; nothing does so before the grant itself."""
    rows = LedgerTransaction.objects.filter(
        customer=OuterRef("customer"), grant=OuterRef("pk"), effective_at__gt=at
    ).order_by()
    return rows.values("grant").annotate(total=Sum("credits")).values_list("total", flat=True)


def _of_workspace(
    grants: QuerySet[CreditGrant], workspace: Workspace | None
) -> QuerySet[CreditGrant]:
    grants = grants.select_related("pricing_unit").order_by("expires_at", "pk")
    if workspace is None:
        return grants
    return grants.filter(Q(workspace=None) | Q(workspace=workspace))


def _balances(
    grants: Iterable[CreditGrant], sums: Mapping[int, Decimal], at: datetime
) -> list[UnitBalance]:
    by_unit: dict[str, list[CreditGrant]] = {}
    for grant in grants:
        by_unit.setdefault(grant.pricing_unit.code, []).append(grant)
    return [_unit_balance(code, by_unit[code], sums, at) for code in sorted(by_unit)]


def _unit_balance(
    code: str, grants: list[CreditGrant], sums: Mapping[int, Decimal], at: datetime
) -> UnitBalance:
    alive = [grant for grant in grants if grant.expires_at is None or grant.expires_at > at]
    expiring = [
        Expiring(grant.pk, sums[grant.pk], grant.expires_at)
        for grant in alive
        if grant.expires_at is not None
        and grant.expires_at <= at + EXPIRING_SOON
        and sums[grant.pk]
    ]
    return UnitBalance(
        pricing_unit=code,
        ledger=sum((sums[grant.pk] for grant in grants), _ZERO),
        held=_ZERO,
        available=sum((sums[grant.pk] for grant in alive), _ZERO),
        expiring=tuple(expiring),
    )
