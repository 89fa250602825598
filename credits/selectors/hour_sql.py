"""What customers used hour by hour, as SQL over the facts: the fold that `spend_hour` keeps.

Parameters: `customers` and `hours` side by side name what is wanted; `periods` are the billing
periods in each customer's present kind of credits.
"""

ROWS = """
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(%(customers)s::bigint[], %(hours)s::timestamptz[]) w(customer_id, start_at)
), spent AS (
    SELECT r.customer_id, r.service_at AS start_at, w.workspace_id,
           coalesce(w.dimensions->>'model', '') AS model, sum(r.charge) AS credits
      FROM wanted JOIN billing_period b ON b.customer_id = wanted.customer_id
           AND b.id = ANY(%(periods)s) AND b.start_at < wanted.start_at + interval '1 hour'
           AND coalesce(b.uncut_end_at, b.end_at) > wanted.start_at
      JOIN rated_usage r ON r.billing_period_id = b.id AND r.service_at = wanted.start_at
      JOIN usage_window w ON w.id = r.window_id
     GROUP BY 1, 2, 3, 4
), used AS (
    SELECT customer_id, start_at, workspace_id, model, max(events) AS calls FROM (
        SELECT w.customer_id, w.start_at, w.workspace_id,
               coalesce(w.dimensions->>'model', '') AS model, w.meter_id,
               sum(w.event_count) AS events
          FROM wanted JOIN usage_window w
            ON w.customer_id = wanted.customer_id AND w.start_at = wanted.start_at
         GROUP BY 1, 2, 3, 4, 5) counted
     GROUP BY 1, 2, 3, 4
), cells AS (
    SELECT customer_id, start_at, workspace_id, model, credits, 0 AS calls FROM spent
    UNION ALL SELECT customer_id, start_at, workspace_id, model, 0, calls FROM used
), held AS (
    SELECT h.customer_id, wanted.start_at, h.api_key_id, sum(h.credits) AS credits,
           count(*) AS calls
      FROM wanted JOIN hold h ON h.customer_id = wanted.customer_id
           AND h.made_at >= wanted.start_at AND h.made_at < wanted.start_at + interval '1 hour'
      JOIN spend_mark m ON m.customer_id = h.customer_id AND m.pricing_unit_id = h.pricing_unit_id
     WHERE h.api_key_id IS NOT NULL AND h.state <> 'released'
     GROUP BY 1, 2, 3
)
SELECT customer_id, 'customer' AS dimension, '' AS value, start_at, sum(credits) AS credits,
       sum(calls)::bigint AS calls FROM cells GROUP BY customer_id, start_at
UNION ALL
SELECT customer_id, 'model', model, start_at, sum(credits), sum(calls)::bigint
  FROM cells WHERE model <> '' GROUP BY customer_id, model, start_at
UNION ALL
SELECT c.customer_id, 'workspace', p.external_id, c.start_at, sum(credits), sum(calls)::bigint
  FROM cells c JOIN workspace p ON p.id = c.workspace_id
 GROUP BY c.customer_id, p.external_id, c.start_at
UNION ALL
SELECT customer_id, 'key', api_key_id::text, start_at, credits, calls FROM held
"""
