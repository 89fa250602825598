"""Where discounts, outcomes, seats, coupons and drafts are not what their facts make them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection

_DISCOUNTS = """
SELECT l.id, l.discount_minor, coalesce(sum(d.amount_minor), 0)
  FROM invoice_line l LEFT JOIN line_discount d ON d.line_id = l.id
 GROUP BY l.id
HAVING l.discount_minor <> coalesce(sum(d.amount_minor), 0)
"""

_OUTCOMES = """
SELECT o.id, o.state, coalesce(d.state, 'pending')
  FROM outcome o
  LEFT JOIN (SELECT DISTINCT ON (outcome_id) outcome_id, state FROM outcome_decision
              ORDER BY outcome_id, sequence DESC) d ON d.outcome_id = o.id
 WHERE o.state <> coalesce(d.state, 'pending')
"""

# A line claims the outcomes behind it, each at its item's price; none that is not accepted.
_BILLED = """
SELECT l.id, l.quantity, count(u.id), l.amount_minor, coalesce(sum(p.amount_minor), 0)
  FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id AND i.status <> 'draft'
  LEFT JOIN line_outcome u ON u.line_id = l.id
  LEFT JOIN outcome o ON o.id = u.outcome_id
  LEFT JOIN plan_item p ON p.id = o.item_id
 WHERE l.kind = 'outcome'
 GROUP BY l.id, i.status
HAVING l.quantity <> count(u.id) OR l.amount_minor <> coalesce(sum(p.amount_minor), 0)
    OR count(*) FILTER (WHERE o.billing_period_id <> l.billing_period_id
                           OR u.is_void <> (i.status = 'void')
                           OR (o.state <> 'accepted' AND NOT u.is_void)) > 0
"""

_SEATS = """
SELECT subscription_id, min(total) FROM (
    SELECT subscription_id, sum(sum(seats)) OVER (
               PARTITION BY subscription_id ORDER BY effective_at) AS total
      FROM seat_change GROUP BY subscription_id, effective_at) running
 GROUP BY subscription_id HAVING min(total) < 0
"""

_COUPONS = """
SELECT c.code, count(r.id), c.max_redemptions
  FROM coupon c JOIN coupon_redemption r ON r.coupon_id = c.id
  JOIN policy_change p ON p.id = c.policy_change_id
 GROUP BY c.id, p.status
HAVING count(r.id) > c.max_redemptions OR p.status <> 'approved' OR count(r.id) <> max(r.sequence)
    OR bool_or(r.redeemed_at < c.starts_at OR r.redeemed_at >= c.expires_at)
"""

# Drafts without lines, due long enough for the worker to have closed or filled their period.
_EMPTIED = """
SELECT i.id, b.id, EXISTS (SELECT FROM invoiced_usage u
                            WHERE u.source_key = 'billing_period:' || b.id) AS is_closed,
       (SELECT count(*) FROM outcome o
         WHERE o.billing_period_id = b.id AND o.state = 'accepted'
           AND NOT EXISTS (SELECT FROM line_outcome u WHERE u.outcome_id = o.id AND NOT u.is_void)
           AND NOT EXISTS (SELECT FROM outcome_decision d
                            WHERE d.outcome_id = o.id AND d.decided_at > %(since)s)) AS waiting
  FROM invoice i JOIN billing_period b
    ON i.source_key LIKE 'billing\\_period:%%' AND split_part(i.source_key, ':', 3) = 'overage'
   AND b.id::text = split_part(i.source_key, ':', 2)
 WHERE i.status = 'draft' AND i.ready_at < %(since)s AND b.end_at < %(since)s
   AND NOT EXISTS (SELECT FROM invoice_line l WHERE l.invoice_id = i.id)
   AND NOT EXISTS (SELECT FROM billing_hold h WHERE h.released_at IS NULL
                      AND h.subject IN ('invoice:' || i.id, 'billing_period:' || b.id))
"""

Rows = Iterator[tuple[Any, ...]]


def lines_off_their_discounts() -> Rows:
    """List lines whose discount is not the sum of its parts: (line, off, parts)."""
    return _rows(_DISCOUNTS)


def outcomes_off_their_decisions() -> Rows:
    """List outcomes that are not what was last decided: (outcome, state, decided)."""
    return _rows(_OUTCOMES)


def lines_off_their_outcomes() -> Rows:
    """List lines that do not claim what stands behind them: (line, count, behind, minor, worth)."""
    return _rows(_BILLED)


def subscriptions_short_of_seats() -> Rows:
    """List subscriptions with fewer than no seats at some instant: (subscription, least)."""
    return _rows(_SEATS)


def coupons_beyond_their_terms() -> Rows:
    """List coupons that were redeemed beyond their terms: (code, count, most)."""
    return _rows(_COUPONS)


def emptied_drafts(since: datetime) -> Rows:
    """List drafts that had no lines when due: (draft, period, is it closed, outcomes that wait)."""
    return _rows(_EMPTIED, {"since": since})


def _rows(sql: str, params: dict[str, datetime] | None = None) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        yield from cursor.fetchall()
