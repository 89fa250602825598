"""What reduces a claim: payments and credit notes."""

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import page_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge, link, moment, money, pairs, sentence
from billing_project.kernel.backoffice.related import offer_list
from invoicing.admin.invoices import pdf_response
from invoicing.documents import credit_note_pdf
from invoicing.models import CreditNote, CreditNoteLine, Payment, ProposedCreditNote

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


@admin.register(ProposedCreditNote)
class ProposedCreditNoteAdmin(ReadOnlyAdmin):
    """Credits that the worker proposes from the books; the policy change carries the decision."""

    list_display = (
        "__str__",
        link("invoice_line.invoice.customer", "customer"),
        link("invoice_line.invoice", "invoice"),
        sentence("cause"),
        money("amount_minor", "amount"),
        badge("state", {"open": "wait", "issued": "good", "closed": ""}),
        link("policy_change", "decision", text="policy_change.status"),
        link("credit_note"),
    )
    list_filter = ("state", "cause", "policy_change__status")
    list_select_related = ("invoice_line__invoice__customer", "policy_change", "credit_note")
    search_fields = ("invoice_line__invoice__number", "policy_change__subject")
    search_help_text = "Invoice number, or the policy change's subject"
    fields = (
        link("invoice_line"),
        link("invoice_line.invoice", "invoice"),
        sentence("cause"),
        money("amount_minor", "amount"),
        pairs("facts"),
        badge("state", {"open": "wait", "issued": "good", "closed": ""}),
        link("policy_change", "decision"),
        link("credit_note"),
        "created_at",
        "closed_at",
    )


offer_list(
    CreditNote, ProposedCreditNote, lambda note: {"credit_note__id__exact": note.pk}, icon="rule"
)
