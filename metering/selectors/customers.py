"""Who an external id names."""

from collections.abc import Iterable
from datetime import datetime

from django.db import connection

from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import AuditEntry
from metering.models import Customer, Workspace

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


def customer_named(external_id: str, field: str = "") -> Customer:
    """Return the customer of an external id or alias.

    Args:
        field: Where the caller named them, as the error says it.

    Raises:
        NotFound: nobody is called so.
    """
    for customer in Customer.objects.raw(_NAMED, {"name": external_id}):
        return customer
    raise NotFound(f"no customer is called {external_id}", code="unknown_customer", field=field)


def workspace_named(customer: Customer, external_id: str, field: str = "workspace") -> Workspace:
    """Return a customer's workspace.

    Args:
        field: Where the caller named it ("scope.workspace").

    Raises:
        NotFound: the customer has none of that name.
    """
    workspace = Workspace.objects.filter(customer=customer, external_id=external_id).first()
    if workspace is None:
        raise NotFound(
            f"{customer} has no workspace {external_id}",
            code="unknown_workspace",
            field=field,
        )
    return workspace


def closed_times(customer_id: int) -> list[tuple[datetime, datetime | None]]:
    """Return from when until when a customer was closed, oldest first; None: still is.

    The row itself knows only of now; what was before is in the audit log, which keeps everything.
    """
    entries = AuditEntry.objects.filter(
        subject=f"customer:{customer_id}", action__in=["close_customer", "reopen_customer"]
    ).order_by("pk")
    found: list[tuple[datetime, datetime | None]] = []
    for action, at in entries.values_list("action", "at"):
        if action == "close_customer":
            found.append((at, None))
        elif found:
            found[-1] = found[-1][0], at
    return found


def was_closed_at(moment: datetime, times: Iterable[tuple[datetime, datetime | None]]) -> bool:
    """Tell whether one of the times that `closed_times` returned holds a moment."""
    return any(start <= moment and (end is None or moment < end) for start, end in times)
