"""What services take before they look: an invoice's lock, a person's permission, a number.

Lock order of the house: customer, subscription, grants, invoice, number series.
"""

from django.db import connection

from billing_project.kernel.errors import NotAllowed
from billing_project.kernel.models import ApiKey, User
from invoicing.models import Invoice
from metering.services.customers import lock_customer

INVOICE_SERIES, CREDIT_NOTE_SERIES = "INV", "CN"
_UNBOUNDED = {"admin", "credits:large"}

_TAKE = """
UPDATE number_series n SET last_number = n.last_number + 1 FROM legal_entity e
 WHERE e.id = n.entity_id AND n.entity_id = %s AND n.code = %s
RETURNING n.last_number, e.series_prefix
"""


def lock_invoice(invoice: Invoice) -> Invoice:
    """Hold an invoice's customer, then the invoice, and return it as it stands now."""
    lock_customer(invoice.customer_id)
    return (
        Invoice.objects.select_for_update(no_key=True, of=("self",))
        .select_related("customer", "subscription")
        .get(pk=invoice.pk)
    )


def require_permission(by: User, permission: str, action: str) -> None:
    """Refuse a person without the permission; services act for whoever was checked before them.

    An API key's scope was checked at the door; the worker acts by schedule.

    Raises:
        NotAllowed: a person lacks it.
    """
    if not by.is_service and not by.has_perm(permission):
        raise NotAllowed(f"{by.username} may not {action}")


def may_decide_notes(by: User) -> bool:
    """Tell who issues notes of any amount: finance, the worker, and keys that were made for it."""
    if not by.is_service:
        return by.has_perm("invoicing.issue_large_creditnote")
    key = ApiKey.objects.filter(user=by).first()
    return key is None or not _UNBOUNDED.isdisjoint(key.scopes)


def take_number(series: str, entity_id: int) -> tuple[int, str]:
    """Take the next number of an entity's gapless series; call it last, in the issuing transaction.

    Returns:
        The sequence and its text: (7, "INV-000007"), or (7, "DE-INV-000007").
    """
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [entity_id, series])
        number, prefix = cursor.fetchone()
    return number, f"{prefix}{'-' if prefix else ''}{series}-{number:06d}"
