"""Keep the document of each invoice and note: set when it is first asked for, and never again."""

import hashlib
from datetime import datetime

from django.db import transaction

from invoicing.documents import credit_note_pdf, invoice_pdf
from invoicing.models import CreditNote, CreditNoteDocument, Invoice, InvoiceDocument

Document = InvoiceDocument | CreditNoteDocument


def keep_document(*, subject: Invoice | CreditNote, at: datetime) -> Document:
    """Return the document of an issued invoice or note; the first to ask has it set.

    Of two who ask first at once, both get what one of them kept.

    Raises:
        Conflict: a draft is no document.
    """
    kept = _find(subject)
    if kept is not None:
        return kept
    _set(subject, at)
    kept = _find(subject)
    assert kept is not None, "it was kept just now"
    return kept


def _find(subject: Invoice | CreditNote) -> Document | None:
    if isinstance(subject, Invoice):
        return InvoiceDocument.objects.filter(invoice=subject).first()
    return CreditNoteDocument.objects.filter(credit_note=subject).first()


@transaction.atomic
def _set(subject: Invoice | CreditNote, at: datetime) -> None:
    if isinstance(subject, Invoice):
        made = InvoiceDocument(invoice=subject, set_at=at, **_columns(invoice_pdf(subject)))
        InvoiceDocument.objects.bulk_create([made], ignore_conflicts=True)
    else:
        note = CreditNoteDocument(
            credit_note=subject, set_at=at, **_columns(credit_note_pdf(subject))
        )
        CreditNoteDocument.objects.bulk_create([note], ignore_conflicts=True)


def _columns(content: bytes) -> dict[str, bytes]:
    return {"content": content, "content_sha256": hashlib.sha256(content).digest()}
