"""Credits that were sold and are not there yet: they come with the payment of their invoice."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection

from billing_project.kernel.money import Money
from invoicing.models import InvoiceLine
from invoicing.selectors.invoices import pack_steps
from metering.models import Customer

# The source key of a pack's grant is written by `issue_pack_grants`.
_WITHOUT_GRANT = """
SELECT l.id FROM invoice i JOIN invoice_line l ON l.invoice_id = i.id
  AND l.kind IN ('credit_pack', 'commitment')
WHERE i.customer_id = %(customer)s AND i.finalized_at <= %(until)s AND NOT EXISTS (
    SELECT FROM credit_grant g
    WHERE g.source_key = 'invoice_line:' || l.id || ':pack' AND g.effective_at <= %(as_of)s
      AND (%(known_at)s::timestamptz IS NULL OR g.created_at <= %(known_at)s))
"""


# Nearly nobody has one, and balances are asked for often: this is all that most of them cost.
_OWES = "SELECT FROM invoice WHERE customer_id = %s AND status = 'finalized' LIMIT 1"


@dataclass(frozen=True)
class PendingPack:
    """One sold pack that waits for its payment; what notes took off it is left out."""

    invoice: str  # Its number.
    line: int  # Its position.
    pricing_unit: str
    credits: Decimal
    price: Money  # Ex tax.


def pending_packs_now(customer: Customer, at: datetime) -> list[PendingPack]:
    """List the packs a customer has bought and not yet got: their invoices are not paid."""
    with connection.cursor() as cursor:
        cursor.execute(_OWES, [customer.pk])
        owes = cursor.fetchone() is not None
    return pending_packs(customer, at) if owes else []


def pending_packs(
    customer: Customer, as_of: datetime, known_at: datetime | None = None
) -> list[PendingPack]:
    """List the packs a customer had bought and not yet got at an instant, oldest first.

    Args:
        as_of: Invoices, notes and payments from later do not count.
        known_at: Nor does what was recorded after it; None: all that is known.
    """
    until = as_of if known_at is None else min(as_of, known_at)
    instants = {"as_of": as_of, "known_at": known_at, "until": until}
    with connection.cursor() as cursor:
        cursor.execute(_WITHOUT_GRANT, {"customer": customer.pk, **instants})
        waiting = [pk for (pk,) in cursor.fetchall()]
    if not waiting:
        return []
    lines = InvoiceLine.objects.filter(pk__in=waiting).select_related("invoice").order_by("pk")
    left = [(line, pack_steps(line, until)[-1]) for line in lines]
    return [
        PendingPack(
            str(line.invoice), line.position, line.unit, pack.credits,
            Money(pack.price_minor, line.invoice.currency),
        )
        for line, pack in left
        if pack.price_minor
    ]  # fmt: skip
