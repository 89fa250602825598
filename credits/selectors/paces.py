"""How fast each customer's credits go, beside what they have left in their billing period."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from billing_project.kernel.period import Period
from credits.forecast import Pace

DAY = timedelta(days=1)
DAYS = 7  # That the pace of a balance is looked at.
# Of every customer in one statement. What is held is as good as used; a row's hour lies in its
# billing period, so that each customer's past is read no further back than asked.
_PACES = """
SELECT p.id, p.customer_id, u.code, p.end_at, l.remaining - coalesce(h.credits, 0), s.charges
FROM billing_period p
JOIN rate_card c ON c.id = p.rate_card_id
JOIN pricing_unit u ON u.id = c.pricing_unit_id
JOIN LATERAL (
    SELECT sum(g.remaining) AS remaining FROM credit_grant g
    WHERE g.customer_id = p.customer_id AND g.pricing_unit_id = u.id
      AND g.effective_at <= %(at)s AND (g.expires_at IS NULL OR g.expires_at > %(at)s)
) l ON l.remaining > 0
JOIN LATERAL (
    SELECT array_agg(coalesce(d.charge, 0) ORDER BY n) AS charges, max(d.charge) AS most
    FROM generate_series(0, %(days)s - 1) n
    LEFT JOIN (
        SELECT floor(extract(epoch FROM r.service_at - %(since)s) / 86400)::int AS n,
               sum(r.charge) AS charge
        FROM billing_period b
        JOIN rate_card bc ON bc.id = b.rate_card_id AND bc.pricing_unit_id = u.id
        JOIN rated_usage r ON r.billing_period_id = b.id
        WHERE b.customer_id = p.customer_id AND b.end_at > %(since)s AND b.start_at <= %(at)s
          AND r.service_at >= %(since)s AND r.service_at < %(at)s
        GROUP BY 1
    ) d USING (n)
) s ON s.most > 0
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
    """A customer's pace in the unit of their billing period."""

    period_id: int
    customer_id: int
    unit: str
    ends_at: datetime
    pace: Pace


def balance_paces(at: datetime) -> list[BalancePace]:
    """Return the pace of each customer who has credits and used some in the last days."""
    span = Period(at - DAYS * DAY, at)
    with connection.cursor() as cursor:
        cursor.execute(_PACES, {"at": at, "since": span.start, "days": DAYS})
        return [
            BalancePace(period, customer, unit, end, Pace(span, tuple(used), left))
            for period, customer, unit, end, left, used in cursor.fetchall()
        ]
