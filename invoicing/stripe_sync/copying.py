"""The words in which Stripe is told of usage, grants and invoices: that leaves, and no more."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from django.conf import settings

from billing_project.kernel.quantity import plain
from credits.models import CreditGrant
from invoicing.models import Invoice, InvoiceLine
from invoicing.stripe_sync.gateway import Json
from invoicing.stripe_sync.policy import to_stripe
from metering.models import Meter, UsageWindow

_LINES_AT_ONCE = 200  # Stripe takes 250.
_LONGEST_NAME = 100


def event_name_of(meter: Meter) -> str:
    """Return what a meter's events are called at Stripe."""
    return f"{settings.STRIPE_NAMESPACE}_{meter.code}"[:_LONGEST_NAME]


def usage_of(window: UsageWindow, moved: Decimal, stripe_customer: str) -> Json:
    """Say by how much a usage window moved, at its hour; the identifier is ours.

    Args:
        window: With its meter.
    """
    return {
        "event_name": event_name_of(window.meter),
        "identifier": f"{settings.STRIPE_NAMESPACE}:window:{window.pk}:r{window.revision}",
        "payload": {"stripe_customer_id": stripe_customer, "value": plain(moved)},
        "timestamp": int(window.start_at.timestamp()),
    }


def grant_of(grant: CreditGrant, stripe_customer: str, at: datetime) -> Json:
    """Say what a customer paid for credits: Stripe's grants are money.

    Raises:
        NotChargeable: Stripe does not hold the amount exactly.
    """
    money = {
        "currency": grant.currency.lower(),
        "value": to_stripe(grant.price_minor, grant.currency),
    }
    words: Json = {
        "customer": stripe_customer, "category": "paid", "name": (grant.name or str(grant))[:100],
        "amount": {"type": "monetary", "monetary": money},
        "applicability_config": {"scope": {"price_type": "metered"}},
        "priority": min(grant.priority, 100), "metadata": {"credit_grant": str(grant.pk)},
    }  # fmt: skip
    if grant.effective_at > at:
        words["effective_at"] = int(grant.effective_at.timestamp())
    if grant.expires_at is not None and grant.expires_at > at:
        words["expires_at"] = int(grant.expires_at.timestamp())
    return words


def copy_of(invoice: Invoice, stripe_customer: str) -> Json:
    """Say what an invoice is, as a draft that Stripe neither advances nor collects.

    Raises:
        NotChargeable: Stripe does not hold one of its amounts exactly.
    """
    list(lines_of(invoice))
    return {
        "customer": stripe_customer, "currency": invoice.currency.lower(), "auto_advance": False,
        "pending_invoice_items_behavior": "exclude", "description": f"Copy of {invoice.number}",
        "metadata": {"invoice": str(invoice.number)},
    }  # fmt: skip


def lines_of(invoice: Invoice) -> Iterator[list[Json]]:
    """Yield what an invoice claims and its tax, in lists as long as Stripe takes at once.

    Raises:
        NotChargeable: Stripe does not hold one of the amounts exactly.
    """
    lines = [
        _line(line, invoice.currency)
        for line in invoice.lines.exclude(amount_minor=0).order_by("position")
    ]
    if invoice.tax_minor:
        tax = to_stripe(invoice.tax_minor, invoice.currency)
        lines.append({"amount": tax, "description": invoice.tax_name or "Tax"})
    for first in range(0, len(lines), _LINES_AT_ONCE):
        yield lines[first : first + _LINES_AT_ONCE]


def _line(line: InvoiceLine, currency: str) -> Json:
    start, end = (int(one.timestamp()) for one in (line.service_start_at, line.service_end_at))
    return {
        "amount": to_stripe(line.amount_minor, currency),
        "description": line.description,
        "period": {"start": start, "end": end},
    }
