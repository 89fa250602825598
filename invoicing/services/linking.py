"""Put rated usage and accepted outcomes behind the lines of a draft that state or claim them."""

from django.db import connection

from credits.models import BillingPeriod
from invoicing.models import Invoice, LineKind

# A statement line's source key names the meter and dimensions that it is about.
_LINK_USAGE = """
INSERT INTO line_usage (line_id, rated_usage_id, kind)
SELECT l.id, r.id, l.kind
  FROM rated_usage r JOIN invoice_line l ON l.invoice_id = %(invoice)s AND l.kind = 'overage'
 WHERE r.billing_period_id = %(period)s AND r.overage <> 0
   AND NOT EXISTS (SELECT FROM line_usage u WHERE u.rated_usage_id = r.id AND u.kind = l.kind
                      AND NOT u.is_void)
UNION ALL
SELECT l.id, r.id, l.kind
  FROM rated_usage r
  JOIN usage_window w ON w.id = r.window_id
  JOIN invoice_line l ON l.invoice_id = %(invoice)s AND l.kind = 'credits_used'
   AND l.source_key = %(key)s || ':used:' || w.meter_id || ':' || left(w.dimensions_key, 16)
 WHERE r.billing_period_id = %(period)s
   AND NOT EXISTS (SELECT FROM line_usage u WHERE u.rated_usage_id = r.id AND u.kind = l.kind
                      AND NOT u.is_void)
"""

_LINK_USAGE_OF_WORKSPACE = _LINK_USAGE.replace(
    "WHERE r.billing_period_id = %(period)s",
    "WHERE r.billing_period_id = %(period)s AND EXISTS (SELECT FROM usage_window o"
    " WHERE o.id = r.window_id AND o.workspace_id = %(workspace)s)",
)

# An outcome line's source key names its item.
_LINK_OUTCOMES = """
INSERT INTO line_outcome (line_id, outcome_id)
SELECT l.id, o.id
  FROM outcome o JOIN plan_item p ON p.id = o.item_id
  JOIN invoice_line l ON l.invoice_id = %(invoice)s AND l.kind = 'outcome'
   AND l.source_key = %(key)s || ':outcome:' || p.code
 WHERE o.billing_period_id = %(period)s AND o.state = 'accepted'
   AND NOT EXISTS (SELECT FROM line_outcome u WHERE u.outcome_id = o.id AND NOT u.is_void)
"""


def link_usage(
    invoice: Invoice, billing_period: BillingPeriod, kinds: set[str], workspace_id: int | None
) -> None:
    """Put rated usage and accepted outcomes that stand behind no line behind this invoice's."""
    params: dict[str, int | str] = {
        "invoice": invoice.pk, "key": invoice.source_key, "period": billing_period.pk,
    }  # fmt: skip
    link = _LINK_USAGE
    if workspace_id is not None:
        link, params["workspace"] = _LINK_USAGE_OF_WORKSPACE, workspace_id
    with connection.cursor() as cursor:
        cursor.execute(link, params)
        if LineKind.OUTCOME in kinds:
            cursor.execute(_LINK_OUTCOMES, params)
