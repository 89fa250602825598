"""Who paid for what usage cost us: grants by category, overage by how far it is billed, nobody.

A window's cost is shared by what became of its charge. Usage that waits without a rate, and usage
that is free of charge, stand by themselves.
"""

from dataclasses import dataclass
from decimal import Decimal

from django.db import connection

from billing_project.kernel.period import Period
from credits.selectors.supplier_costs import PRICED_WINDOWS, params_of

# Of a window and the unit that it was charged in: what was rated, and the parts of the charge.
# Overage is refunded as far as notes took off its line.
_BY_FUNDING = f"""
{PRICED_WINDOWS}, rated AS (
    SELECT r.id, r.window_id, p.code AS unit, r.quantity, r.charge, r.overage, r.forgiven
      FROM costed c JOIN rated_usage r ON r.window_id = c.id
      JOIN rate_card_version v ON v.id = r.rate_card_version_id
      JOIN rate_card k ON k.id = v.rate_card_id
      JOIN pricing_unit p ON p.id = k.pricing_unit_id
     WHERE c.cost <> 0
), overage AS (
    SELECT r.window_id, r.unit, coalesce(sum(r.overage) FILTER (WHERE l.id IS NULL), 0) AS unbilled,
           coalesce(sum(r.overage * (1 - coalesce(l.credited_minor::numeric
                                                  / nullif(l.amount_minor, 0), 0)))
                    FILTER (WHERE l.id IS NOT NULL), 0) AS billed,
           coalesce(sum(r.overage * l.credited_minor / nullif(l.amount_minor, 0)), 0) AS refunded,
           sum(r.quantity) AS rated, sum(r.charge) AS charge, sum(r.forgiven) AS forgiven
      FROM rated r LEFT JOIN line_usage u
             ON u.rated_usage_id = r.id AND u.kind = 'overage' AND NOT u.is_void
      LEFT JOIN invoice_line l ON l.id = u.line_id
     GROUP BY r.window_id, r.unit
), drawn AS (
    SELECT r.window_id, r.unit, g.category, -sum(t.credits) AS credits
      FROM rated r JOIN ledger_transaction t ON t.rated_usage_id = r.id
      JOIN credit_grant g ON g.id = t.grant_id
     WHERE t.kind IN ('drawn', 'returned') GROUP BY r.window_id, r.unit, g.category
), part AS (
    SELECT window_id, unit, category AS funding, credits FROM drawn
    UNION ALL SELECT window_id, unit, 'overage billed', billed FROM overage
    UNION ALL SELECT window_id, unit, 'overage refunded', refunded FROM overage
    UNION ALL SELECT window_id, unit, 'overage unbilled', unbilled FROM overage
    UNION ALL SELECT window_id, unit, 'credits given back', forgiven FROM overage
), share AS (
    SELECT p.funding, p.unit, p.credits,
           c.cost * o.rated / c.quantity * p.credits / o.charge AS cost
      FROM part p JOIN overage o ON o.window_id = p.window_id AND o.unit = p.unit AND o.charge <> 0
      JOIN costed c ON c.id = p.window_id
    UNION ALL
    SELECT 'free of charge', o.unit, 0, c.cost * o.rated / c.quantity
      FROM overage o JOIN costed c ON c.id = o.window_id WHERE o.charge = 0
    UNION ALL
    SELECT 'not rated yet', '', 0, c.cost * (c.quantity - coalesce(o.rated, 0)) / c.quantity
      FROM costed c
      LEFT JOIN (SELECT window_id, sum(rated) AS rated FROM overage GROUP BY window_id) o
             ON o.window_id = c.id
     WHERE c.cost <> 0
)
SELECT funding, unit, sum(credits), sum(cost) FROM share GROUP BY funding, unit
HAVING sum(cost) <> 0 OR sum(credits) <> 0
"""  # noqa: S608 - own text


@dataclass(frozen=True)
class Funding:
    """What one source paid for, in credits of one unit, and what that usage cost us."""

    source: str
    unit: str  # "": it was not rated yet.
    credits: Decimal
    cost: Decimal  # Major units, unrounded.


def costs_by_funding(period: Period, currency: str) -> list[Funding]:
    """Share the supplier's cost of a period among what paid for it, the dearest first."""
    with connection.cursor() as cursor:
        cursor.execute(_BY_FUNDING, params_of(period, currency))
        found = [Funding(*row) for row in cursor.fetchall()]
    return sorted(found, key=lambda one: (-one.cost, one.source, one.unit))
