"""What the chain says of billing periods, each figure summed from its own table.

Windows are counted by their hour, ratings by the period that rating put them in, claims by the
lines of invoices: none is worked out from another, so that their difference means something.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import QuerySet

from billing_project.kernel.errors import NotFound
from credits.models import BillingPeriod
from credits.selectors.unrated import Reason, never_rated_in
from invoicing.completeness import Cause, Figures
from invoicing.lines import OveragePrice
from invoicing.selectors.plans import plan_version_of
from metering.models import Customer

# A window belongs to the period that its hour begins in; where none covers that instant, to the
# first one that begins within the hour.
_BELONGS = """
w.customer_id = p.customer_id AND w.start_at > p.start_at - interval '1 hour'
AND w.start_at < p.end_at
AND (w.start_at >= p.start_at OR NOT EXISTS (
        SELECT FROM billing_period q WHERE q.customer_id = p.customer_id
           AND q.start_at < p.start_at AND q.end_at > w.start_at))
"""
_FIGURES = f"""
SELECT p.id,
  (SELECT count(*) FROM usage_window w WHERE {_BELONGS}),
  (SELECT count(*) FROM window_rating g WHERE g.billing_period_id = p.id),
  coalesce(r.charged, 0), coalesce(r.covered, 0), coalesce(r.overage, 0), coalesce(r.forgiven, 0),
  coalesce(l.billed, 0), coalesce(l.drafted, 0), coalesce(l.minor, 0),
  EXISTS (SELECT FROM billing_hold h WHERE h.released_at IS NULL AND (
      h.subject = 'billing_period:' || p.id OR h.invoice_id IN (
          SELECT x.invoice_id FROM invoice_line x WHERE x.billing_period_id = p.id))),
  (SELECT max(z.rated_at) FROM rated_usage z
    WHERE z.billing_period_id = p.id AND z.overage <> 0 AND NOT EXISTS (
        SELECT FROM line_usage y
         WHERE y.rated_usage_id = z.id AND y.kind = 'overage' AND NOT y.is_void))
FROM billing_period p
LEFT JOIN LATERAL (
    SELECT sum(charge) AS charged, sum(drawn) AS covered, sum(overage) AS overage,
           sum(forgiven) AS forgiven
      FROM rated_usage WHERE billing_period_id = p.id) r ON true
LEFT JOIN LATERAL (
    SELECT sum(x.quantity - coalesce(n.credits, 0)) FILTER (WHERE i.status <> 'draft') AS billed,
           sum(x.quantity) FILTER (WHERE i.status = 'draft') AS drafted,
           sum(x.amount_minor + x.discount_minor - coalesce(n.minor, 0))
               FILTER (WHERE i.status <> 'draft') AS minor
      FROM invoice_line x JOIN invoice i ON i.id = x.invoice_id AND i.status <> 'void'
      LEFT JOIN LATERAL (
          SELECT sum(t.evened_credits) AS credits, sum(t.evened_minor) AS minor
            FROM credit_note_line t WHERE t.invoice_line_id = x.id AND NOT EXISTS (
                SELECT FROM credit_note_void v WHERE v.credit_note_id = t.credit_note_id)) n ON true
     WHERE x.billing_period_id = p.id AND x.kind = 'overage') l ON true
WHERE p.id = ANY (%s)
"""  # noqa: S608 - texts of this module
# Usage that no period will ever charge: before the first one, between two, after the last.
_OUTSIDE = """
SELECT w.customer_id, count(*) FROM usage_window w
 WHERE w.customer_id = ANY (%s) AND w.start_at >= %s AND w.start_at < %s
   AND NOT EXISTS (SELECT FROM billing_period q WHERE q.customer_id = w.customer_id
                      AND q.start_at < w.start_at + interval '1 hour' AND w.start_at < q.end_at)
 GROUP BY 1
"""
_CAUSES = {
    Reason.NO_RATE: Cause.NO_RATE,
    Reason.NO_BURN_ORDER: Cause.NO_BURN_ORDER,
    Reason.IS_NEXT: Cause.TO_RATE,
}


@dataclass(frozen=True)
class PeriodFigures:
    """A billing period, and what the chain says of it."""

    period: BillingPeriod
    figures: Figures


def periods_within(
    start: datetime, end: datetime, customer: Customer | None
) -> QuerySet[BillingPeriod]:
    """List billing periods that touch [start, end), of one customer or of all."""
    periods = BillingPeriod.objects.filter(start_at__lt=end, end_at__gt=start)
    if customer is not None:
        periods = periods.filter(customer=customer)
    return periods.select_related("customer", "rate_card__pricing_unit").order_by(
        "customer__external_id", "start_at"
    )


def figures_of(periods: Sequence[BillingPeriod]) -> list[PeriodFigures]:
    """Sum the chain of each period, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_FIGURES, [[period.pk for period in periods]])
        rows = {row[0]: row[1:] for row in cursor.fetchall()}
    unrated = never_rated_in({period.customer_id for period in periods})
    return [
        PeriodFigures(period, _figures(period, unrated.get(period.pk, {}), *rows[period.pk]))
        for period in periods
    ]


def windows_outside(customer_ids: Sequence[int], start: datetime, end: datetime) -> dict[int, int]:
    """Count windows of [start, end) that lie in no billing period, by customer."""
    with connection.cursor() as cursor:
        cursor.execute(_OUTSIDE, [list(customer_ids), start, end])
        return dict(cursor.fetchall())


def _figures(
    period: BillingPeriod, unrated: Mapping[Reason, int], recorded: int, rated: int,
    charged: Decimal, covered: Decimal, overage: Decimal, forgiven: Decimal, billed: Decimal,
    drafted: Decimal, minor: Decimal, is_parked: bool, waits_since: datetime | None,
) -> Figures:  # fmt: skip
    return Figures(
        start_at=period.start_at, end_at=period.end_at, recorded=recorded, rated=rated,
        unrated={_CAUSES[reason]: count for reason, count in unrated.items()},
        charged=charged, covered=covered, overage=overage, billed=billed, drafted=drafted,
        price=_price(period), claimed_minor=int(minor), is_parked=is_parked,
        forgiven=forgiven, waits_since=waits_since,
    )  # fmt: skip


def _price(period: BillingPeriod) -> OveragePrice | None:
    try:
        version = plan_version_of(period)
    except NotFound:
        return None
    unit = version.rate_card.pricing_unit.code
    return OveragePrice(unit, version.overage_price_unrounded, version.currency)
