"""Keep the document of each issued invoice: set when it is first asked for, and never again."""

import hashlib
from datetime import datetime

from django.db import transaction

from invoicing.documents import invoice_pdf
from invoicing.models import Invoice, InvoiceDocument


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
    with transaction.atomic():
        InvoiceDocument.objects.bulk_create(
            [
                InvoiceDocument(
                    invoice=invoice, content=content,
                    content_sha256=hashlib.sha256(content).digest(), set_at=at,
                )
            ],
            ignore_conflicts=True,
        )  # fmt: skip
    return InvoiceDocument.objects.get(invoice=invoice)
