"""Recharges that are not what they should be; see `recharge_checks`."""

from datetime import date
from decimal import Decimal

from django.db import connection

_BEYOND = """
SELECT a.id, r.month_on, sum(r.price_minor), a.monthly_limit_minor
FROM recharge r JOIN auto_recharge a ON a.id = r.auto_recharge_id
WHERE r.state <> 'failed' GROUP BY a.id, r.month_on, a.monthly_limit_minor
HAVING sum(r.price_minor) > a.monthly_limit_minor ORDER BY 1, 2
"""
# A grant may be less than was bought: a note took some off before it was paid. A draft that was
# rejected has no lines any more.
_OFF = """
SELECT r.id, r.state, i.status, coalesce(g.credits, 0), r.credits
FROM recharge r JOIN invoice i ON i.id = r.invoice_id
LEFT JOIN LATERAL (
    SELECT sum(l.quantity) AS credits, count(*) AS count FROM invoice_line l
    WHERE l.invoice_id = i.id AND l.kind = 'credit_pack') l ON true
LEFT JOIN LATERAL (
    SELECT sum(c.amount) AS credits FROM credit_grant c JOIN invoice_line l
        ON c.source_key = 'invoice_line:' || l.id || ':pack'
    WHERE l.invoice_id = i.id) g ON true
WHERE (l.count <> 1 OR l.credits <> r.credits) AND NOT EXISTS (
        SELECT FROM draft_rejection d JOIN billing_hold h ON h.id = d.hold_id
        WHERE h.invoice_id = i.id)
   OR i.customer_id <> r.customer_id
   OR r.state = 'paid' AND i.status IN ('draft', 'void', 'uncollectible')
   OR g.credits > r.credits
   OR coalesce(g.credits, 0) > 0 AND i.status NOT IN ('paid', 'finalized')
ORDER BY 1
"""


def months_beyond_their_limit() -> list[tuple[int, date, int, int]]:
    """Return agreements with what was bought in a month beyond their limit."""
    with connection.cursor() as cursor:
        cursor.execute(_BEYOND)
        return list(cursor.fetchall())


def recharges_off_their_invoices() -> list[tuple[int, str, str, Decimal, Decimal]]:
    """Return purchases that differ from their invoice, or from what was granted for it."""
    with connection.cursor() as cursor:
        cursor.execute(_OFF)
        return list(cursor.fetchall())
