"""What reduces a claim: payments and credit notes."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action, page_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import (
    EMPTY,
    badge,
    link,
    moment,
    money,
    money_text,
    number,
    number_text,
    object_link,
    sentence,
)
from billing_project.kernel.backoffice.forms import ReasonField, ReasonForm
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import User
from billing_project.kernel.pdf import pdf_response
from invoicing.admin.refund_forms import RefundForm
from invoicing.models import (
    CreditNote,
    CreditNoteLine,
    CreditNoteVoid,
    Payment,
    ProposedCreditNote,
    Refund,
)
from invoicing.selectors import refund_left
from invoicing.selectors.restoring import GOES_TO, credits_restored
from invoicing.services.documents import keep_document
from invoicing.services.note_voids import preview_note_void, void_credit_note
from invoicing.services.refunds import record_refund

_REASONS = {
    "billing_error": "bad",
    "duplicate": "bad",
    "fraudulent": "bad",
    "order_change": "info",
    "product_unsatisfactory": "bad",
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
        number("restored_credits", "credits given back", unit="invoice_line.unit"),
    )
    list_select_related = ("invoice_line", "credit_note")
    verbose_name_plural = "lines"
    tab = False


class RefundInline(ReadOnlyInline):
    """What was refunded for a note."""

    model = Refund
    fields = ("as_link", money("amount_minor", "amount"), "method", "refunded_at", "state")
    list_select_related = ("failure",)
    tab = False

    @admin.display(description="Reference")
    def as_link(self, refund: Refund) -> str:
        """Link to the refund's own page."""
        return object_link(refund)

    def state(self, refund: Refund) -> str:
        """Say whether it came back."""
        return "failed: to the balance" if hasattr(refund, "failure") else "made"


class NoteVoidForm(ReasonForm):
    """Why a note is taken back, and what that does."""

    subject: CreditNote
    reason = ReasonField(max_length=500)

    def facts(self) -> list[tuple[str, Any]]:
        """Show what is owed again, and what leaves the customer's balance."""
        note = self.subject
        shown = [("Note", str(note)), ("Invoice", str(note.invoice))]
        try:
            seen = preview_note_void(note, now())
        except BillingError as error:
            return [*shown, ("Cannot be voided", str(error))]
        return [
            *shown,
            ("Owed again", str(seen.claimed)),
            ("Leaves the customer's balance", str(seen.from_balance)),
            ("Not refunded any more", str(seen.refund_dropped)),
            ("Credits taken again", number_text(seen.taken_again)),
        ]


def _stands(note: CreditNote) -> bool:
    return not hasattr(note, "void")


def _has_to_refund(note: CreditNote) -> bool:
    return refund_left(note) > 0


@admin.register(CreditNote)
class CreditNoteAdmin(ReadOnlyAdmin):
    """Issued documents that reduce invoices."""

    list_display = (
        "number",
        link("invoice"),
        link("invoice.customer", "customer"),
        badge("reason", _REASONS),
        money("total_minor", "total"),
        "back",
        moment("issued_at"),
        "voided",
    )
    list_filter = ("reason", ("issued_by", AutocompleteSelectFilter))
    list_select_related = ("invoice__customer", "void")
    search_fields = ("number", "invoice__number", "invoice__customer__external_id", "source_key")
    search_help_text = "Number, invoice number, customer or idempotency key"
    fields = (
        "number",
        link("invoice"),
        badge("reason", _REASONS),
        "memo",
        money("total_minor", "total"),
        money("open_minor", "off what was open"),
        money("refund_minor", "to refund"),
        "left_to_refund",
        money("balance_minor", "to the customer's balance"),
        money("out_of_band_minor", "given back already"),
        "restored",
        link("issued_by"),
        "issued_at",
        "voided",
        "source_key",
    )
    inlines = (NoteLineInline, RefundInline)
    actions_detail = ("pdf", "refund", "void")

    @admin.display(description="What was paid goes back")
    def back(self, note: CreditNote) -> str:
        """Say how what was paid goes back ("refund 4.00 USD, balance 1.50 USD")."""
        ways = (
            ("refund", note.refund_minor),
            ("balance", note.balance_minor),
            ("out of band", note.out_of_band_minor),
        )
        parts = [f"{way} {money_text(minor, note.currency)}" for way, minor in ways if minor]
        return ", ".join(parts) or EMPTY

    @admin.display(description="Credits given back")
    def restored(self, note: CreditNote) -> str:
        """Link to the grants that got credits back, the newest burn first."""
        return (
            format_html_join(
                ", ",
                "{} to {}{}",
                (
                    (number_text(part.credits), object_link(part.grant), GOES_TO[part.goes_to])
                    for part in credits_restored(note)
                ),
            )
            or EMPTY
        )

    @admin.display(description="Void")
    def voided(self, note: CreditNote) -> str:
        """Say whether it was taken back."""
        return (
            object_link(note.void, f"void: {note.void.reason}") if hasattr(note, "void") else EMPTY
        )

    @admin.display(description="Left to refund")
    def left_to_refund(self, note: CreditNote) -> str:
        """Say what is still to be refunded."""
        return money_text(refund_left(note), note.currency)

    @form_action(
        "Record refund",
        permission="invoicing.record_refund",
        form=RefundForm,
        icon="currency_exchange",
        offered=_has_to_refund,
        explanation="Record money that went back to the customer, as the bank or the payment"
        " provider made it. What is owed to them falls by it.",
    )
    def refund(self, by: User, note: CreditNote, form: RefundForm) -> str:
        """Record money that went back."""
        made = record_refund(credit_note=note, by=by, at=now(), **form.refund())
        amount = money_text(made.amount_minor, made.currency)
        return format_html("Recorded {} for {}: {}.", amount, note.number, object_link(made))

    @form_action(
        "Void",
        permission="invoicing.void_creditnote",
        form=NoteVoidForm,
        icon="block",
        offered=_stands,
        is_final=True,
        takes_away=True,
        explanation="The invoice claims again what the note took off it. The note keeps its number"
        " and document. Possible while nothing was refunded for it and its share of the customer's"
        " balance is there; above the limit for notes an approver voids it who did not issue it.",
    )
    def void(self, by: User, note: CreditNote, form: NoteVoidForm) -> str:
        """Take the note back."""
        reason = form.cleaned_data["reason"]
        row = void_credit_note(credit_note=note, reason=reason, by=by, at=now())
        return format_html("{}: {}.", object_link(row), reason)

    @page_action("PDF", icon="picture_as_pdf")
    def pdf(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the note as its customer gets it."""
        note = self.get_object(request, unquote(object_id))
        if note is None or not self.has_view_permission(request, note):
            raise PermissionDenied
        kept = keep_document(subject=note, at=now())
        return pdf_response(kept, note.number)


@admin.register(CreditNoteVoid)
class CreditNoteVoidAdmin(ReadOnlyAdmin):
    """Notes that were taken back: their invoices claim again what they took off."""

    list_display = (
        "__str__",
        link("credit_note"),
        link("credit_note.invoice", "invoice"),
        link("credit_note.invoice.customer", "customer"),
        money("credit_note.total_minor", "total", currency="credit_note.currency"),
        "reason",
        moment("voided_at"),
        link("voided_by"),
    )
    list_select_related = ("credit_note__invoice__customer", "voided_by")
    search_fields = ("credit_note__number", "credit_note__invoice__number", "reason")
    search_help_text = "Number of the note or invoice, or reason"
    fields = (link("credit_note"), "reason", "voided_at", link("voided_by"))


@admin.register(ProposedCreditNote)
class ProposedCreditNoteAdmin(ReadOnlyAdmin):
    """Credits that the worker proposes, or support; the policy change carries the decision."""

    list_display = (
        "__str__",
        link("invoice_line.invoice.customer", "customer"),
        link("invoice_line.invoice", "invoice"),
        sentence("cause"),
        money("amount_minor", "amount"),
        number("restored_credits", "credits"),
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
        number("restored_credits", "credits"),
        "back",
        "why",
        badge("state", {"open": "wait", "issued": "good", "closed": ""}),
        link("policy_change", "decision"),
        link("credit_note"),
        "created_at",
        "closed_at",
    )

    @admin.display(description="Goes back to")
    def back(self, row: ProposedCreditNote) -> str:
        """List the grants that would get credits, as the decision is asked for."""
        parts = row.facts.get("gives_back", [])
        return (
            "; ".join(
                f"{part['credits']} to grant {part['grant']} ({part['category']})"
                f"{GOES_TO[part['goes_to']]}"
                for part in parts
            )
            or EMPTY
        )

    @admin.display(description="Facts")
    def why(self, row: ProposedCreditNote) -> str:
        """Show the rest of what it was proposed with."""
        rest = (f"{name} {value}" for name, value in row.facts.items() if name != "gives_back")
        return ", ".join(rest) or EMPTY


offer_list(
    CreditNote, ProposedCreditNote, lambda note: {"credit_note__id__exact": note.pk}, icon="rule"
)
