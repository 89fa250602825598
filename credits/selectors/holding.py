"""Credits that holds reserved at an instant of the past, by pricing unit."""

from datetime import datetime
from decimal import Decimal

from django.db import connection

from metering.models import Customer, Workspace

# Before its end a hold had what was asked for, whatever it was settled at.
_THEN = """
SELECT u.code, sum(CASE WHEN h.ended_at IS NULL OR h.ended_at > %(at)s
                        THEN a.credits ELSE h.credits END)
FROM hold h
JOIN pricing_unit u ON u.id = h.pricing_unit_id
JOIN spend_authorization a ON a.id = h.authorization_id
WHERE h.customer_id = %(customer)s AND h.made_at <= %(at)s
  AND (%(workspace)s::bigint IS NULL OR h.workspace_id = %(workspace)s)
  AND CASE WHEN h.ended_at IS NULL OR h.ended_at > %(at)s THEN h.expires_at > %(at)s
           ELSE h.state = 'settled' AND (h.counted_at IS NULL OR h.counted_at > %(at)s) END
GROUP BY u.code
"""


def held_then(
    customer: Customer, at: datetime, workspace: Workspace | None = None
) -> dict[str, Decimal]:
    """Return what was held of a customer's credits at an instant, or for one workspace."""
    place = workspace.pk if workspace else None
    with connection.cursor() as cursor:
        cursor.execute(_THEN, {"customer": customer.pk, "at": at, "workspace": place})
        return dict(cursor.fetchall())
