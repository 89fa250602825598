"""A customer's credits: the fold over the ledger, at any instant of the past.

For now the guarded column has the same sum, however long the ledger is; `check_books` compares.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection
from django.db.models import Q, QuerySet, Sum

from credits.models import CreditGrant, LedgerTransaction
from credits.selectors.holding import held_then
from metering.models import Customer, Workspace

EXPIRING_SOON = timedelta(days=30)
_ZERO = Decimal(0)
# What moves a grant only later is taken off again; nothing moves it before it is in force. What is
# held of a unit stands beside each of its grants.
_LEFT_NOW = """
SELECT g.id, u.code, g.expires_at, g.remaining - coalesce((
    SELECT sum(l.credits) FROM ledger_transaction l
    WHERE l.customer_id = g.customer_id AND l.grant_id = g.id AND l.effective_at > %(at)s), 0),
    coalesce(h.credits, 0)
FROM credit_grant g JOIN pricing_unit u ON u.id = g.pricing_unit_id
LEFT JOIN (
    SELECT pricing_unit_id, sum(credits) AS credits FROM hold
    WHERE customer_id = %(customer)s
      AND (%(workspace)s::bigint IS NULL OR workspace_id = %(workspace)s)
      AND ((state = 'open' AND expires_at > %(at)s)
           OR (state = 'settled' AND counted_at IS NULL))
    GROUP BY pricing_unit_id) h ON h.pricing_unit_id = g.pricing_unit_id
WHERE g.customer_id = %(customer)s AND g.effective_at <= %(at)s
  AND (%(workspace)s::bigint IS NULL OR g.workspace_id IS NULL OR g.workspace_id = %(workspace)s)
ORDER BY g.expires_at, g.id
"""


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
    grants that have expired, even before the expiry is entered; it is never below zero.
    """

    pricing_unit: str
    ledger: Decimal
    held: Decimal
    available: Decimal
    expiring: tuple[Expiring, ...]


@dataclass(frozen=True)
class _Left:
    """What one grant has left at an instant."""

    id: int
    pricing_unit: str
    expires_at: datetime | None
    credits: Decimal


def balance(
    customer: Customer,
    at: datetime,
    workspace: Workspace | None = None,
    known_at: datetime | None = None,
) -> list[UnitBalance]:
    """Return what a customer had at an instant, folded from the ledger.

    Args:
        at: What takes effect later does not count.
        workspace: Leaves out grants that are for other workspaces, and what others hold.
        known_at: What was recorded later does not count; None: as it was known `at` that instant.

    Returns:
        One balance for each pricing unit that the customer ever had credits of, by code.
    """
    held = held_then(customer, at, workspace)
    sums = _credits_by_grant(customer, at, at if known_at is None else known_at)
    grants = CreditGrant.objects.filter(pk__in=sums).order_by("expires_at", "pk")
    if workspace is not None:
        grants = grants.filter(Q(workspace=None) | Q(workspace=workspace))
    rows = grants.values_list("pk", "pricing_unit__code", "expires_at")
    return _balances([_Left(*row, sums[row[0]]) for row in rows], held, at)


def balance_now(
    customer: Customer, at: datetime, workspace: Workspace | None = None
) -> list[UnitBalance]:
    """Return what a customer has, in one query that reads no past; otherwise as `balance`.

    Args:
        at: Now; what is recorded meanwhile counts, what takes effect later does not.
    """
    words: dict[str, int | datetime | None] = {
        "customer": customer.pk,
        "workspace": workspace.pk if workspace else None,
        "at": at,
    }
    with connection.cursor() as cursor:
        cursor.execute(_LEFT_NOW, words)
        rows = cursor.fetchall()
    held = {unit: credits_held for _, unit, _, _, credits_held in rows}
    return _balances([_Left(*row[:4]) for row in rows], held, at)


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


def _credits_by_grant(customer: Customer, at: datetime, known_at: datetime) -> dict[int, Decimal]:
    rows = LedgerTransaction.objects.filter(
        customer=customer, effective_at__lte=at, recorded_at__lte=known_at
    )
    return dict(rows.order_by().values_list("grant_id").annotate(total=Sum("credits")))


def _balances(
    grants: Iterable[_Left], held: Mapping[str, Decimal], at: datetime
) -> list[UnitBalance]:
    by_unit: dict[str, list[_Left]] = {}
    for grant in grants:
        by_unit.setdefault(grant.pricing_unit, []).append(grant)
    return [
        _unit_balance(code, by_unit[code], held.get(code, _ZERO), at) for code in sorted(by_unit)
    ]


def _unit_balance(code: str, grants: list[_Left], held: Decimal, at: datetime) -> UnitBalance:
    alive = [grant for grant in grants if grant.expires_at is None or grant.expires_at > at]
    expiring = [
        Expiring(grant.id, grant.credits, grant.expires_at)
        for grant in alive
        if grant.expires_at is not None and grant.expires_at <= at + EXPIRING_SOON and grant.credits
    ]
    return UnitBalance(
        pricing_unit=code,
        ledger=sum((grant.credits for grant in grants), _ZERO),
        held=held,
        available=max(sum((grant.credits for grant in alive), _ZERO) - held, _ZERO),
        expiring=tuple(expiring),
    )
