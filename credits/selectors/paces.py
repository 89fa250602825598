"""How fast each customer's credits go, beside what they have left in their billing period."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from billing_project.kernel.period import Period
from credits.forecast import Pace

LOOK_BACK = timedelta(days=7)
# Of every customer in one statement. What is held is as good as used; a row's hour lies in its
# billing period, so that each customer's past is read no further back than asked.
_PACES = """
SELECT p.id, p.customer_id, u.code, p.end_at, l.newest_id, l.remaining - coalesce(h.credits, 0),
       s.charge
FROM billing_period p
JOIN rate_card c ON c.id = p.rate_card_id
JOIN pricing_unit u ON u.id = c.pricing_unit_id
JOIN LATERAL (
    SELECT sum(g.remaining) AS remaining, max(g.id) AS newest_id FROM credit_grant g
    WHERE g.customer_id = p.customer_id AND g.pricing_unit_id = u.id
      AND g.effective_at <= %(at)s AND (g.expires_at IS NULL OR g.expires_at > %(at)s)
) l ON l.remaining > 0
JOIN LATERAL (
    SELECT sum(r.charge) AS charge
    FROM billing_period b
    JOIN rate_card bc ON bc.id = b.rate_card_id AND bc.pricing_unit_id = u.id
    JOIN rated_usage r ON r.billing_period_id = b.id
    WHERE b.customer_id = p.customer_id AND b.end_at > %(since)s AND b.start_at <= %(at)s
      AND r.service_at >= %(since)s AND r.service_at < %(at)s
) s ON s.charge > 0
LEFT JOIN LATERAL (
    SELECT sum(credits) AS credits FROM hold
    WHERE customer_id = p.customer_id AND pricing_unit_id = u.id
      AND ((state = 'open' AND expires_at > %(at)s)
           OR (state = 'settled' AND counted_at IS NULL))
) h ON true
WHERE p.start_at <= %(at)s AND p.end_at > %(at)s
ORDER BY p.customer_id
"""


@dataclass(frozen=True)
class BalancePace:
    """A customer's pace in the unit of their billing period.

    Attributes:
        grant_id: Their newest grant: what comes later begins another crossing.
    """

    period_id: int
    customer_id: int
    unit: str
    ends_at: datetime
    grant_id: int
    pace: Pace


def balance_paces(at: datetime) -> list[BalancePace]:
    """Return the pace of each customer who has credits and used some in the last days."""
    span = Period(at - LOOK_BACK, at)
    with connection.cursor() as cursor:
        cursor.execute(_PACES, {"at": at, "since": span.start})
        return [
            BalancePace(period, customer, unit, end, grant, Pace(span, used, left))
            for period, customer, unit, end, grant, left, used in cursor.fetchall()
        ]
