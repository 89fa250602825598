"""Keep the document of each invoice and note: set when it is first asked for, and never again."""

import hashlib
from datetime import datetime

from django.db import transaction

from invoicing.documents import credit_note_pdf, invoice_pdf
from invoicing.models import CreditNote, CreditNoteDocument, Invoice, InvoiceDocument


def keep_invoice_document(*, invoice: Invoice, at: datetime) -> InvoiceDocument:
    """Return the document of an issued invoice; the first to ask has it set.

    Of two who ask first at once, both get what one of them kept.

    Raises:
        Conflict: a draft is no document.
    """
    kept = InvoiceDocument.objects.filter(invoice=invoice).first()
    if kept is not None:
        return kept
    content = invoice_pdf(invoice)
    row = InvoiceDocument(
        invoice=invoice, content=content, content_sha256=_sha256(content), set_at=at
    )
    with transaction.atomic():
        InvoiceDocument.objects.bulk_create([row], ignore_conflicts=True)
    return InvoiceDocument.objects.get(invoice=invoice)


def keep_note_document(*, credit_note: CreditNote, at: datetime) -> CreditNoteDocument:
    """Return the document of a credit note, as `keep_invoice_document` does of an invoice."""
    kept = CreditNoteDocument.objects.filter(credit_note=credit_note).first()
    if kept is not None:
        return kept
    content = credit_note_pdf(credit_note)
    row = CreditNoteDocument(
        credit_note=credit_note, content=content, content_sha256=_sha256(content), set_at=at
    )
    with transaction.atomic():
        CreditNoteDocument.objects.bulk_create([row], ignore_conflicts=True)
    return CreditNoteDocument.objects.get(credit_note=credit_note)


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
