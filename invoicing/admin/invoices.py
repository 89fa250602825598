"""Claims on customers: drafts to finalize, issued ones to be paid or credited."""

from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action, page_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import (
    badge,
    days_text,
    link,
    moment,
    money,
    money_text,
    number,
    number_text,
    object_link,
    object_url,
)
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import User
from billing_project.kernel.pdf import pdf_response
from invoicing.admin.endings import EndingForm
from invoicing.admin.forms import (
    ApplyBalanceForm,
    CreditNoteForm,
    FinalizeForm,
    PaymentForm,
    ProposedNoteForm,
)
from invoicing.admin.mails import SendingActions
from invoicing.models import (
    CreditNote,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    LineKind,
    Payment,
)
from invoicing.selectors import balance_of, is_claimed
from invoicing.services.balances import pay_from_balance
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.documents import keep_document
from invoicing.services.endings import void_and_regenerate, void_invoice, write_off_invoice
from invoicing.services.invoices import finalize_invoice
from invoicing.services.overage import is_overage
from invoicing.services.payments import record_payment
from invoicing.services.proposals import request_credit_notes
from metering.models import Customer

_STATUSES = {
    "draft": "wait",
    "finalized": "info",
    "paid": "good",
    "void": "",
    "uncollectible": "bad",
}


class LineInline(ReadOnlyInline):
    """An invoice's lines."""

    model = InvoiceLine
    fields = (
        "position",
        "as_link",
        number("quantity"),
        "unit",
        number("unit_price_unrounded", "unit price"),
        money("amount_minor", "amount", currency="invoice.currency"),
        money("credited_minor", "credited", currency="invoice.currency"),
        "service",
    )
    list_select_related = ("invoice__customer",)
    verbose_name_plural = "lines"
    tab = False

    @admin.display(description="Description")
    def as_link(self, line: InvoiceLine) -> str:
        """Link to the line's own page."""
        return object_link(line, line.description)

    def service(self, line: InvoiceLine) -> str:
        """Show the service period in the customer's calendar, as the document does."""
        zone = line.invoice.customer.time_zone
        return days_text(line.service_start_at, line.service_end_at, zone)


class PaymentInline(ReadOnlyInline):
    """What was paid."""

    model = Payment
    fields = (
        "reference",
        "method",
        money("amount_minor", "amount"),
        "paid_at",
        link("recorded_by"),
    )
    list_select_related = ("recorded_by",)
    tab = False


class NoteInline(ReadOnlyInline):
    """What was credited."""

    model = CreditNote
    fields = ("as_link", "reason", money("total_minor", "total"), "issued_at", link("issued_by"))
    list_select_related = ("issued_by",)
    tab = False

    @admin.display(description="Number")
    def as_link(self, note: CreditNote) -> str:
        """Link to the note's own page."""
        return object_link(note)


def _is_draft(invoice: Invoice) -> bool:
    return invoice.status == InvoiceStatus.DRAFT


def _is_owed(invoice: Invoice) -> bool:
    return invoice.status == InvoiceStatus.FINALIZED


def _is_payable_from_balance(invoice: Invoice) -> bool:
    return _is_owed(invoice) and balance_of(invoice) > 0


def _is_creditable(invoice: Invoice) -> bool:
    if not is_claimed(invoice):
        return False
    stated = invoice.lines.filter(kind=LineKind.CREDITS_USED)
    return invoice.credited_minor < invoice.total_minor or stated.exists()


def _is_payable(invoice: Invoice) -> bool:
    return _is_owed(invoice) or invoice.status == InvoiceStatus.UNCOLLECTIBLE


def _is_voidable(invoice: Invoice) -> bool:
    return _is_owed(invoice) and invoice.open_minor == invoice.total_minor


@admin.register(Invoice)
class InvoiceAdmin(SendingActions, ReadOnlyAdmin):
    """Claims: a draft has no number; finalizing gives it one and freezes it."""

    list_display = (
        "__str__",
        link("customer"),
        badge("status", _STATUSES),
        money("total_minor", "total"),
        money("open_minor", "open"),
        "service_from",
        moment("finalized_at"),
        "due_on",
    )
    list_filter = (("customer", AutocompleteSelectFilter), "status", "currency")
    list_select_related = ("customer", "entity", "workspace")
    search_fields = ("number", "customer__external_id", "customer__name", "source_key")
    search_help_text = "Number, customer or source key"
    date_hierarchy = "finalized_at"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("number", badge("status", _STATUSES)),
                    (link("customer", text="customer.name"), link("subscription")),
                    (link("entity", "billed by"), link("workspace")),
                    link("replaces"),
                )
            },
        ),
        (
            "Money",
            {
                "fields": (
                    (money("total_minor", "total"), money("open_minor", "open")),
                    (money("paid_minor", "paid"), money("applied_minor", "paid by the balance")),
                    (money("credited_minor", "credited"), money("returned_minor", "given back")),
                    money("written_off_minor", "written off, not recovered"),
                )
            },
        ),
        (
            "When",
            {
                "fields": (
                    ("service_start_at", "service_end_at"),
                    ("created_at", "ready_at"),
                    ("finalized_at", "due_on"),
                )
            },
        ),
    )
    inlines = (LineInline, PaymentInline, NoteInline)
    actions_detail = (
        *("pdf", "finalize", "credit", "pay", "propose_credit", "customer_page", "send"),
        *("apply_balance", "void", "regenerate", "write_off"),
    )  # fmt: skip

    @admin.display(description="Service from", ordering="service_start_at")
    def service_from(self, invoice: Invoice) -> str:
        """Show the first day of service in the customer's calendar, as the document does."""
        zone = ZoneInfo(invoice.customer.time_zone)
        return format_html(
            '<span class="bo-figure">{}</span>', invoice.service_start_at.astimezone(zone).date()
        )

    @page_action("PDF", icon="picture_as_pdf")
    def pdf(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the invoice as its customer gets it."""
        invoice = self.get_object(request, unquote(object_id))
        if invoice is None or not self.has_view_permission(request, invoice):
            raise PermissionDenied
        try:
            kept = keep_document(subject=invoice, at=now())
        except BillingError as error:
            messages.error(request, error.message)
            return HttpResponseRedirect(object_url(invoice))
        return pdf_response(kept, str(invoice.number))

    @form_action(
        "Finalize",
        permission="invoicing.finalize_invoice",
        form=FinalizeForm,
        icon="task_alt",
        offered=_is_draft,
        is_final=True,
        explanation="The draft is checked against usage once more, gets the next number, and can"
        " be changed no longer: only payments and credit notes follow.",
    )
    def finalize(self, by: User, invoice: Invoice, form: FinalizeForm) -> str:
        """Issue the draft."""
        issued = finalize_invoice(invoice=invoice, by=by, at=now())
        return f"Issued {issued} over {money_text(issued.total_minor, issued.currency)}."

    @form_action(
        "Record payment",
        permission="invoicing.record_payment",
        form=PaymentForm,
        icon="payments",
        offered=_is_payable,
    )
    def pay(self, by: User, invoice: Invoice, form: PaymentForm) -> str:
        """Record money that came in."""
        data = form.cleaned_data
        payment = record_payment(
            invoice=invoice,
            amount_minor=data["amount"],
            method=data["method"],
            reference=data["reference"],
            paid_at=data["paid_at"],
            by=by,
            at=now(),
        )
        return f"Recorded {money_text(payment.amount_minor, payment.currency)} for {invoice}."

    @form_action(
        "Apply balance",
        permission="invoicing.record_payment",
        form=ApplyBalanceForm,
        icon="account_balance_wallet",
        offered=_is_payable_from_balance,
        is_final=True,
        explanation="What notes left as the customer's balance pays this invoice, as far as it"
        " goes. Invoices that are issued later are paid from it by themselves.",
    )
    def apply_balance(self, by: User, invoice: Invoice, form: ApplyBalanceForm) -> str:
        """Let the customer's balance pay."""
        row = pay_from_balance(invoice=invoice, by=by, at=now())
        return f"The balance paid {money_text(row.amount_minor, row.currency)} of {invoice}."

    @form_action(
        "Issue credit note",
        permission="invoicing.issue_creditnote",
        form=CreditNoteForm,
        icon="assignment_return",
        offered=_is_creditable,
        is_final=True,
        explanation="A credit note is a numbered document, which can only be voided whole. What is"
        " still open is reduced first; what was paid already goes back as you settle it.",
    )
    def credit(self, by: User, invoice: Invoice, form: CreditNoteForm) -> str:
        """Take amounts off the invoice's lines."""
        note = issue_credit_note(
            invoice=invoice,
            lines=form.amounts(),
            restored=form.credits(),
            reason=form.cleaned_data["reason"],
            memo=form.cleaned_data["memo"],
            settlement=form.settlement(),
            key=form.key,
            by=by,
            at=now(),
        )
        total = money_text(note.total_minor, note.currency)
        if note.restored_credits:
            total = f"{total} and {number_text(note.restored_credits)} credits"
        return format_html("Issued {} over {}.", object_link(note), total)

    @form_action(
        "Propose credit note",
        permission="invoicing.issue_creditnote",
        form=ProposedNoteForm,
        icon="approval",
        offered=_is_creditable,
        explanation="For what is above the limit of support: a finance approver decides on each"
        " line, and the worker issues what is approved, to the customer's balance where it was"
        " paid. Credits go back to the grants that the approver saw, or not at all.",
    )
    def propose_credit(self, by: User, invoice: Invoice, form: ProposedNoteForm) -> str:
        """Ask finance to take amounts off the invoice's lines, and to give credits back."""
        said = form.cleaned_data
        rows = request_credit_notes(
            lines=form.amounts(), restored=form.credits(), reason=said["reason"],
            memo=said["memo"], by=by, at=now(),
        )  # fmt: skip
        return format_html("Proposed {}; finance decides.", object_link(rows[0]))

    @form_action(
        "Void",
        permission="invoicing.void_invoice",
        form=EndingForm,
        icon="block",
        offered=_is_voidable,
        is_final=True,
        explanation="It keeps its number and claims nothing. Fees, seats and packs on it are not"
        " billed again. What a period's end claims is: the next run drafts its usage, and all that"
        " stands beside it, anew, on an invoice that refers to this one. Credit what is not owed.",
    )
    def void(self, by: User, invoice: Invoice, form: EndingForm) -> str:
        """Take the invoice back whole."""
        void_invoice(invoice=invoice, reason=form.cleaned_data["reason"], by=by, at=now())
        again = " The next run drafts anew what its period owes." if is_overage(invoice) else ""
        return f"{invoice} is void.{again}"

    @form_action(
        "Void and regenerate",
        permission="invoicing.void_invoice",
        form=EndingForm,
        icon="restart_alt",
        offered=_is_voidable,
        is_final=True,
        explanation="The invoice becomes void, and a new draft that refers to it claims the same:"
        " overage from usage as it is now, other lines as they were.",
    )
    def regenerate(self, by: User, invoice: Invoice, form: EndingForm) -> str:
        """Take the invoice back, and draft it anew."""
        reason = form.cleaned_data["reason"]
        draft = void_and_regenerate(invoice=invoice, reason=reason, by=by, at=now())
        return format_html("{} is void; {} replaces it.", invoice, object_link(draft))

    @form_action(
        "Write off",
        permission="invoicing.write_off_invoice",
        form=EndingForm,
        icon="money_off",
        offered=_is_owed,
        is_final=True,
        explanation="What is open is not expected any more: the delivered part is an expense, the"
        " rest of the promise ends. A payment that comes nevertheless is recorded as a recovery.",
    )
    def write_off(self, by: User, invoice: Invoice, form: EndingForm) -> str:
        """Give up what the invoice still owes."""
        row = write_off_invoice(
            invoice=invoice, reason=form.cleaned_data["reason"], by=by, at=now()
        )
        return f"Wrote off {money_text(row.amount_minor, row.currency)} of {invoice}."


def _of_customer(customer: Customer) -> dict[str, object]:
    return {"customer__id__exact": customer.pk}


offer_list(Customer, Invoice, _of_customer, icon="receipt")
