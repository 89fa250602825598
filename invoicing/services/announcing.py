"""Tell other systems of invoices and credit notes, in the transaction that makes them so."""

from datetime import datetime

from billing_project.kernel.money import Money
from billing_project.kernel.webhooks.announcing import announce, register_webhook
from invoicing.models import CreditNote, Invoice, InvoiceStatus

FINALIZED = register_webhook("invoice.finalized", "An invoice was issued: it is claimed now.")
PAID = register_webhook("invoice.paid", "Payments or a balance paid the rest of an invoice.")
VOIDED = register_webhook("invoice.voided", "An issued invoice was taken back whole.")
NOTE_ISSUED = register_webhook("credit_note.issued", "An invoice was credited, in part or whole.")


def announce_issued(invoice: Invoice, at: datetime) -> None:
    """Tell of an invoice that is issued; one that claims nothing is paid with that."""
    announce(FINALIZED, key=f"invoice:{invoice.pk}:finalized", data=invoice_said(invoice), at=at)
    announce_if_paid(invoice, at)


def announce_if_paid(invoice: Invoice, at: datetime) -> None:
    """Tell that an invoice is paid, if it is; once, whatever is taken back and paid again later."""
    if invoice.status == InvoiceStatus.PAID:
        announce(PAID, key=f"invoice:{invoice.pk}:paid", data=invoice_said(invoice), at=at)


def announce_voided(invoice: Invoice, reason: str, at: datetime) -> None:
    """Tell that an invoice is void."""
    invoice.refresh_from_db(fields=["status", "open_minor"])
    said = {**invoice_said(invoice), "reason": reason}
    announce(VOIDED, key=f"invoice:{invoice.pk}:voided", data=said, at=at)


def announce_note(note: CreditNote, at: datetime) -> None:
    """Tell that a credit note is issued."""
    invoice = note.invoice
    said = {
        "number": note.number,
        "invoice": invoice.number,
        "customer": invoice.customer.external_id,
        "reason": note.reason,
        "currency": note.currency,
        "total": _amount(note.total_minor, note.currency),
        "tax": _amount(note.tax_minor, note.currency),
        "to_balance": _amount(note.balance_minor, note.currency),
        "to_refund": _amount(note.refund_minor, note.currency),
        "out_of_band": _amount(note.out_of_band_minor, note.currency),
        "restored_credits": note.restored_credits,
        "issued_at": note.issued_at,
    }
    announce(NOTE_ISSUED, key=f"credit_note:{note.pk}:issued", data=said, at=at)


def invoice_said(invoice: Invoice) -> dict[str, object]:
    """Say what an invoice is, in the words of the API."""
    currency = invoice.currency
    return {
        "number": invoice.number,
        "status": str(invoice.status),
        "customer": invoice.customer.external_id,
        "currency": currency,
        "total": _amount(invoice.total_minor, currency),
        "tax": _amount(invoice.tax_minor, currency),
        "paid": _amount(invoice.paid_minor, currency),
        "balance_applied": _amount(invoice.applied_minor, currency),
        "open": _amount(invoice.open_minor, currency),
        "finalized_at": invoice.finalized_at,
        "due_on": invoice.due_on.isoformat() if invoice.due_on else None,
    }


def _amount(minor: int, currency: str) -> str:
    return f"{Money(minor, currency).decimal:f}"
