"""Lines of invoices, the usage behind each, and the counters of documents."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin
from billing_project.kernel.backoffice.display import link, moment, money, number, object_url
from billing_project.kernel.backoffice.related import Link, list_url, offer, offer_list
from credits.models import BillingPeriod, CreditGrant, RatedUsage
from invoicing.models import (
    CreditNoteDocument,
    InvoiceDocument,
    InvoiceLine,
    LineUsage,
    NumberSeries,
)
from invoicing.selectors.invoices import lines_of_grant


@admin.register(InvoiceLine)
class InvoiceLineAdmin(ReadOnlyAdmin):
    """Single charges, with the usage that stands behind each."""

    list_display = (
        "__str__",
        link("invoice"),
        "kind",
        "description",
        number("quantity"),
        money("amount_minor", "amount", currency="invoice.currency"),
        money("credited_minor", "credited", currency="invoice.currency"),
        moment("service_start_at", "service from"),
    )
    list_filter = ("kind",)
    list_select_related = ("invoice",)
    search_fields = ("invoice__number", "source_key")
    search_help_text = "Invoice number or source key"
    ordering = ("-id",)
    fields = (
        link("invoice"),
        "position",
        "kind",
        "description",
        number("quantity", unit="unit"),
        number("unit_price_unrounded", "unit price", unit="invoice.currency"),
        money("amount_minor", "amount", currency="invoice.currency"),
        money("credited_minor", "credited", currency="invoice.currency"),
        ("service_start_at", "service_end_at"),
        link("billing_period"),
        "source_key",
    )


@admin.register(LineUsage)
class LineUsageAdmin(LargeTableAdmin):
    """Which rated usage stands behind which line."""

    list_display = (
        "__str__",
        link("line"),
        link("rated_usage"),
        "kind",
        number("rated_usage.drawn", "drawn"),
        number("rated_usage.overage", "overage"),
        moment("rated_usage.service_at", "used"),
    )
    list_filter = ("kind",)
    list_select_related = ("line__invoice", "rated_usage")
    search_fields = ("rated_usage__source_key", "line__invoice__number")
    search_help_text = "Source key of the usage or invoice number, exactly"
    fields = (link("line"), link("rated_usage"), "kind", "is_void")


@admin.register(InvoiceDocument)
class InvoiceDocumentAdmin(ReadOnlyAdmin):
    """What customers were sent, byte for byte; the invoice's page shows it."""

    list_display = (link("invoice"), "sha256", moment("set_at"))
    list_select_related = ("invoice",)
    search_fields = ("invoice__number",)
    search_help_text = "Invoice number"
    fields = (link("invoice"), "sha256", "set_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceDocument]:
        """Leave the documents themselves where they are."""
        return super().get_queryset(request).defer("content")


@admin.register(CreditNoteDocument)
class CreditNoteDocumentAdmin(ReadOnlyAdmin):
    """What customers were sent as credit notes, byte for byte; the note's page shows it."""

    list_display = (link("credit_note"), "sha256", moment("set_at"))
    list_select_related = ("credit_note",)
    search_fields = ("credit_note__number",)
    search_help_text = "Credit note number"
    fields = (link("credit_note"), "sha256", "set_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditNoteDocument]:
        """Leave the documents themselves where they are."""
        return super().get_queryset(request).defer("content")


@admin.register(NumberSeries)
class NumberSeriesAdmin(ReadOnlyAdmin):
    """Gapless counters of documents, by legal entity."""

    list_display = ("code", link("entity"), "last_number")
    list_select_related = ("entity",)
    ordering = ("entity", "code")
    fields = ("code", link("entity"), "last_number")


offer_list(BillingPeriod, InvoiceLine, lambda p: {"billing_period__id__exact": p.pk})
offer_list(RatedUsage, LineUsage, lambda r: {"rated_usage__id__exact": r.pk}, title="Invoice lines")
offer_list(
    InvoiceLine, LineUsage, lambda line: {"line__id__exact": line.pk}, title="Usage behind it"
)


def _sold_by(grant: CreditGrant) -> Link | None:
    """Link a grant, and what it rolled over to, to the lines that sold it."""
    lines = list(lines_of_grant(grant)[:2])
    if len(lines) > 1:
        period = {"billing_period__id__exact": lines[0].billing_period_id}
        return Link("Invoice lines", list_url(InvoiceLine, period), "receipt")
    return Link("Invoice line", object_url(lines[0]), "receipt") if lines else None


offer(CreditGrant, _sold_by)
