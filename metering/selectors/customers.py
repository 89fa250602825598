"""Who an external id names."""

from collections.abc import Iterable

from django.db import connection

from billing_project.kernel.errors import NotFound
from metering.models import Customer

_IDS = """
SELECT external_id, id FROM customer WHERE external_id = ANY(%(names)s::text[])
UNION ALL
SELECT external_id, customer_id FROM customer_alias WHERE external_id = ANY(%(names)s::text[])
"""
_NAMED = """
SELECT c.* FROM customer c WHERE c.id = coalesce(
    (SELECT id FROM customer WHERE external_id = %(name)s),
    (SELECT customer_id FROM customer_alias WHERE external_id = %(name)s))
"""


def customer_ids(external_ids: Iterable[str]) -> dict[str, int]:
    """Return customers' ids by the external ids and aliases that are known."""
    names = list(set(external_ids))
    with connection.cursor() as cursor:
        cursor.execute(_IDS, {"names": names})
        return dict(cursor.fetchall())


def customer_named(external_id: str) -> Customer:
    """Return the customer of an external id or alias.

    Raises:
        NotFound: nobody is called so.
    """
    for customer in Customer.objects.raw(_NAMED, {"name": external_id}):
        return customer
    raise NotFound(f"no customer is called {external_id}", code="unknown_customer")
