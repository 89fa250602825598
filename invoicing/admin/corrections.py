"""What reduces a claim: payments and credit notes."""

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import page_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge, link, moment, money
from invoicing.admin.invoices import pdf_response
from invoicing.documents import credit_note_pdf
from invoicing.models import CreditNote, CreditNoteLine, Payment

_REASONS = {
    "billing_error": "bad",
    "duplicate": "bad",
    "service_failure": "bad",
    "cancel_future": "info",
    "goodwill": "wait",
    "price_concession": "wait",
}


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    """Money that customers paid."""

    list_display = (
        "reference",
        link("invoice"),
        link("invoice.customer", "customer"),
        money("amount_minor", "amount"),
        "method",
        moment("paid_at"),
        link("recorded_by"),
    )
    list_filter = ("method", "currency")
    list_select_related = ("invoice__customer", "recorded_by")
    search_fields = ("reference", "invoice__number", "invoice__customer__external_id")
    search_help_text = "Reference, invoice number or customer"
    fields = (
        link("invoice"),
        money("amount_minor", "amount"),
        "method",
        "reference",
        "paid_at",
        link("recorded_by"),
        "recorded_at",
    )


class NoteLineInline(ReadOnlyInline):
    """What a note takes off each line."""

    model = CreditNoteLine
    fields = (
        link("invoice_line", text="invoice_line.description"),
        money("amount_minor", "amount", currency="credit_note.currency"),
        money("evened_minor", "of it overcharge", currency="credit_note.currency"),
    )
    list_select_related = ("invoice_line", "credit_note")
    verbose_name_plural = "lines"
    tab = False


@admin.register(CreditNote)
class CreditNoteAdmin(ReadOnlyAdmin):
    """Issued documents that reduce invoices."""

    list_display = (
        "number",
        link("invoice"),
        link("invoice.customer", "customer"),
        badge("reason", _REASONS),
        money("total_minor", "total"),
        money("open_minor", "off what was open"),
        money("balance_minor", "to the balance"),
        moment("issued_at"),
    )
    list_filter = ("reason", ("issued_by", AutocompleteSelectFilter))
    list_select_related = ("invoice__customer",)
    search_fields = ("number", "invoice__number", "invoice__customer__external_id", "source_key")
    search_help_text = "Number, invoice number, customer or idempotency key"
    fields = (
        "number",
        link("invoice"),
        badge("reason", _REASONS),
        "memo",
        money("total_minor", "total"),
        money("open_minor", "off what was open"),
        money("balance_minor", "to the customer's balance"),
        link("issued_by"),
        "issued_at",
        "source_key",
    )
    inlines = (NoteLineInline,)
    actions_detail = ("pdf",)

    @page_action("PDF", icon="picture_as_pdf")
    def pdf(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the note as its customer gets it."""
        note = self.get_object(request, unquote(object_id))
        if note is None or not self.has_view_permission(request, note):
            raise PermissionDenied
        return pdf_response(credit_note_pdf(note), note.number)
