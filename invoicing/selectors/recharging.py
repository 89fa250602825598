"""Whose balance asks for a recharge, and how they stand."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Max, Min, OuterRef, QuerySet, Sum
from django.db.models.functions import Greatest

from billing_project.kernel.period import month_of
from credits.models import Authorization, CreditGrant
from credits.selectors.balances import balance_now
from credits.spend import Reason
from invoicing.models import (
    AutoRecharge,
    Dispute,
    DisputeOutcome,
    Recharge,
    RechargeState,
    Verdict,
)
from invoicing.recharging import Agreed, Standing
from metering.models import Customer

REMEMBERED = timedelta(minutes=10)  # A refusal longer ago asks for nothing any more.
# What was asked at the very time the credits came was refused without them: who still wants it asks
# again.
SETTLING = timedelta(minutes=1)
# Customers whose recharge is open, its agreement ended or not; whose balance is below; or who were
# refused since credits came; nobody who disputes a payment. It is asked all the time: what it finds
# is judged again under the customer's lock.
_WAITING = """
SELECT customer_id FROM recharge WHERE state = 'open'
UNION
SELECT a.customer_id FROM auto_recharge a
JOIN customer c ON c.id = a.customer_id
LEFT JOIN LATERAL (
    SELECT max(opened_at) AS opened_at,
           max(closed_at) FILTER (WHERE state = 'paid') AS paid_at
    FROM recharge r WHERE r.customer_id = a.customer_id AND r.pricing_unit_id = a.pricing_unit_id
) last ON true
WHERE a.ended_at IS NULL AND c.closed_at IS NULL
  AND NOT EXISTS (SELECT FROM dispute d LEFT JOIN dispute_outcome o ON o.dispute_id = d.id
                   WHERE d.customer_id = a.customer_id AND o.id IS NULL)
  AND (last.opened_at IS NULL
       OR last.opened_at + a.cool_down_seconds * interval '1 second' <= %(at)s)
  AND (a.threshold > coalesce((
           SELECT sum(g.remaining) FROM credit_grant g
           WHERE g.customer_id = a.customer_id AND g.pricing_unit_id = a.pricing_unit_id
             AND g.effective_at <= %(at)s
             AND (g.expires_at IS NULL OR g.expires_at > %(at)s)), 0) - coalesce((
           SELECT sum(h.credits) FROM hold h
           WHERE h.customer_id = a.customer_id AND h.pricing_unit_id = a.pricing_unit_id
             AND ((h.state = 'open' AND h.expires_at > %(at)s)
                  OR (h.state = 'settled' AND h.counted_at IS NULL))), 0)
       OR EXISTS (
           SELECT FROM spend_authorization s
           WHERE s.customer_id = a.customer_id AND s.pricing_unit_id = a.pricing_unit_id
             AND s.decided_at > greatest(
                 %(since)s, last.opened_at, last.paid_at + %(settling)s * interval '1 second')
             AND s.reason = %(reason)s
             AND NOT EXISTS (
                 SELECT FROM credit_grant g
                 WHERE g.customer_id = a.customer_id AND g.pricing_unit_id = a.pricing_unit_id
                   AND g.effective_at <= %(at)s
                   AND greatest(g.effective_at, g.created_at) > s.decided_at)))
ORDER BY 1
"""


def customers_to_recharge(at: datetime) -> list[int]:
    """Return who may have to be recharged, or whose open recharge may be over."""
    words: dict[str, datetime | int | str] = {
        "at": at, "since": at - REMEMBERED, "settling": SETTLING // timedelta(seconds=1),
        "reason": Reason.INSUFFICIENT_BALANCE.value,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, words)
        return [pk for (pk,) in cursor.fetchall()]


def is_disputing(customer: Customer) -> bool:
    """Tell whether a bank took a payment of a customer back and nobody has decided on it."""
    return Dispute.objects.filter(customer=customer, outcome=None).exists()


def lost_since() -> QuerySet[DisputeOutcome]:
    """Return what banks gave back for good since an agreement was made: of `OuterRef` rows."""
    return DisputeOutcome.objects.filter(
        dispute__customer=OuterRef("customer"), verdict=Verdict.LOST,
        recorded_at__gte=OuterRef("set_up_at"),
    )  # fmt: skip


def agreed_by(row: AutoRecharge) -> Agreed:
    """Return what a customer agreed to, as the rule reads it."""
    return Agreed(
        row.threshold, row.amount, row.target, row.unit_price, row.currency,
        row.monthly_limit_minor, timedelta(seconds=row.cool_down_seconds),
    )  # fmt: skip


def standing_of(row: AutoRecharge, customer: Customer, at: datetime) -> Standing:
    """Return how a customer stands, by all that was bought by itself in their month.

    What was refused while a purchase waited for its payment is answered by the credits that came.
    """
    bought = Recharge.objects.filter(customer=customer, pricing_unit=row.pricing_unit)
    last = bought.order_by("-opened_at").first()
    since = max([at - REMEMBERED, *_answered(last)])
    refused = Authorization.objects.filter(
        customer=customer, pricing_unit=row.pricing_unit, decided_at__gt=since, decided_at__lte=at,
        reason=Reason.INSUFFICIENT_BALANCE, decided_at__gte=_came_at(row, customer, at),
    )  # fmt: skip
    month = bought.filter(month_on=month_at(customer, at)).exclude(state=RechargeState.FAILED)
    return Standing(
        available=available_in(customer, row.pricing_unit.code, at),
        refused=refused.aggregate(least=Min("credits"))["least"],
        last_at=last.opened_at if last else None,
        month_minor=month.aggregate(sum=Sum("price_minor"))["sum"] or 0,
    )


def _answered(last: Recharge | None) -> list[datetime]:
    """Return until when the last purchase answers refusals."""
    if last is None:
        return []
    if last.closed_at is None or last.state != RechargeState.PAID:
        return [last.opened_at]
    return [last.opened_at, last.closed_at + SETTLING]


def _came_at(row: AutoRecharge, customer: Customer, at: datetime) -> datetime:
    """Return when credits last came, however they did; long ago where none did of late."""
    grants = CreditGrant.objects.filter(
        customer=customer, pricing_unit=row.pricing_unit, effective_at__lte=at
    )
    came_at = grants.aggregate(last=Max(Greatest("effective_at", "created_at")))["last"]
    return came_at or at - REMEMBERED


def available_in(customer: Customer, unit: str, at: datetime) -> Decimal:
    """Return the credits of one kind that a customer may use now."""
    has = {one.pricing_unit: one.available for one in balance_now(customer, at)}
    return has.get(unit, Decimal(0))


def month_at(customer: Customer, at: datetime) -> date:
    """Return the first day of a customer's own month."""
    return month_of(at.astimezone(ZoneInfo(customer.time_zone)).date())[0]
