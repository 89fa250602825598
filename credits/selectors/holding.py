"""Credits that holds reserve, by pricing unit: now, or as of an instant of the past."""

from datetime import datetime
from decimal import Decimal

from django.db import connection

from metering.models import Customer

_NOW = """
SELECT u.code, sum(h.credits) FROM hold h JOIN pricing_unit u ON u.id = h.pricing_unit_id
WHERE h.customer_id = %(customer)s
  AND ((h.state = 'open' AND h.expires_at > %(at)s)
       OR (h.state = 'settled' AND h.counted_at IS NULL))
GROUP BY u.code
"""
# Before its end a hold had what was asked for, whatever it was settled at.
_THEN = """
SELECT u.code, sum(CASE WHEN h.ended_at IS NULL OR h.ended_at > %(at)s
                        THEN a.credits ELSE h.credits END)
FROM hold h
JOIN pricing_unit u ON u.id = h.pricing_unit_id
JOIN spend_authorization a ON a.id = h.authorization_id
WHERE h.customer_id = %(customer)s AND h.made_at <= %(at)s
  AND CASE WHEN h.ended_at IS NULL OR h.ended_at > %(at)s THEN h.expires_at > %(at)s
           ELSE h.state = 'settled' AND (h.counted_at IS NULL OR h.counted_at > %(at)s) END
GROUP BY u.code
"""


def held_now(customer_id: int, at: datetime) -> dict[str, Decimal]:
    """Return what is held of a customer's credits, by the code of the pricing unit."""
    return _held(_NOW, customer_id, at)


def held_then(customer: Customer, at: datetime) -> dict[str, Decimal]:
    """Return what was held of a customer's credits at an instant."""
    return _held(_THEN, customer.pk, at)


def _held(query: str, customer_id: int, at: datetime) -> dict[str, Decimal]:
    with connection.cursor() as cursor:
        cursor.execute(query, {"customer": customer_id, "at": at})
        return dict(cursor.fetchall())
