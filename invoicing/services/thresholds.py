"""Invoice overage before its period ends, where the plan says at which amount."""

from datetime import datetime
from functools import partial

from django.db import connection, transaction

from billing_project.kernel.apart import each_apart
from billing_project.kernel.models import User
from credits.models import BillingPeriod
from invoicing.selectors import is_issued
from invoicing.services.invoices import issue_unless_held
from invoicing.services.overage import draft_at_threshold
from metering.services.customers import lock_customer

# Running periods whose plan has a threshold and that have overage on no line.
_RUNNING = """
SELECT b.id FROM billing_period b
  JOIN subscription s ON s.id::text = split_part(b.source_key, ':', 2)
  JOIN plan_version v ON v.id = coalesce(
       (SELECT c.plan_version_id FROM subscription_change c
         WHERE c.subscription_id = s.id AND c.kind = 'plan' AND c.undone_at IS NULL
           AND c.effective_at <= b.start_at ORDER BY c.effective_at DESC LIMIT 1),
       s.plan_version_id)
 WHERE b.source_key LIKE 'subscription:%%' AND b.start_at <= %(at)s AND b.end_at > %(at)s
   AND v.threshold_minor IS NOT NULL
   AND EXISTS (SELECT FROM rated_usage r WHERE r.billing_period_id = b.id AND r.overage <> 0
                  AND NOT EXISTS (SELECT FROM line_usage u
                                   WHERE u.rated_usage_id = r.id AND u.kind = 'overage'
                                     AND NOT u.is_void))
   AND NOT EXISTS (SELECT FROM billing_hold h
                    WHERE h.subject = 'billing_period:' || b.id AND h.released_at IS NULL)
 ORDER BY b.id
"""


def invoice_reached(*, by: User, at: datetime) -> int:
    """Issue an invoice for each running period whose unbilled overage has reached its threshold.

    One transaction each; a period that fails is logged and left for the next run. Safe to run
    twice at once: what is invoiced counts no more toward the next crossing.

    Returns:
        Invoices issued.
    """
    with connection.cursor() as cursor:
        cursor.execute(_RUNNING, {"at": at})
        ids = [pk for (pk,) in cursor.fetchall()]
    periods = BillingPeriod.objects.filter(pk__in=ids).order_by("id")
    return each_apart(periods, partial(_invoice, by=by, at=at), step="threshold")


@transaction.atomic
def _invoice(billing_period: BillingPeriod, by: User, at: datetime) -> int:
    lock_customer(billing_period.customer_id)
    billing_period.refresh_from_db()
    draft = draft_at_threshold(billing_period, at)
    if draft is None:
        return 0
    return int(is_issued(issue_unless_held(invoice=draft, by=by, at=at)))
