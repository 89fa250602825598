"""Claims that ended unpaid: voids and write-offs, and what was recovered since."""

from django.contrib import admin

from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import link, moment, money
from billing_project.kernel.backoffice.forms import ReasonField
from invoicing.admin.forms import InvoiceForm
from invoicing.models import InvoiceVoid, WriteOff

LONGEST_REASON = 500


class EndingForm(InvoiceForm):
    """Why a claim ends."""

    reason = ReasonField(max_length=LONGEST_REASON)


@admin.register(InvoiceVoid)
class InvoiceVoidAdmin(ReadOnlyAdmin):
    """Invoices that were taken back whole, and what claims their usage again."""

    list_display = (
        "__str__",
        link("invoice"),
        link("invoice.customer", "customer"),
        money("invoice.total_minor", "total", currency="invoice.currency"),
        "reason",
        moment("voided_at"),
        link("voided_by"),
    )
    list_select_related = ("invoice__customer", "voided_by")
    search_fields = ("invoice__number", "invoice__customer__external_id", "reason")
    search_help_text = "Invoice number, customer or reason"
    fields = (link("invoice"), "reason", "voided_at", link("voided_by"))


@admin.register(WriteOff)
class WriteOffAdmin(ReadOnlyAdmin):
    """What is not expected to be paid any more."""

    list_display = (
        "__str__",
        link("invoice"),
        link("invoice.customer", "customer"),
        money("amount_minor", "written off"),
        money("invoice.written_off_minor", "not recovered", currency="invoice.currency"),
        "reason",
        moment("written_off_at"),
        link("written_off_by"),
    )
    list_filter = ("currency",)
    list_select_related = ("invoice__customer", "written_off_by")
    search_fields = ("invoice__number", "invoice__customer__external_id", "reason")
    search_help_text = "Invoice number, customer or reason"
    fields = (
        link("invoice"),
        money("amount_minor", "written off"),
        "reason",
        "written_off_at",
        link("written_off_by"),
    )
