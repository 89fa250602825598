"""Forms of what is done to invoices."""

from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.display import moment_html, money_text, number_text
from billing_project.kernel.backoffice.forms import ActionForm, AmountField
from billing_project.kernel.backoffice.numbers import TypedDecimalField
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.money import Money, exponent
from invoicing.crediting import Settlement, pays
from invoicing.models import CreditNoteReason, Invoice, InvoiceLine, LineKind
from invoicing.selectors import balance_of, find_note_of, paid_of
from invoicing.selectors.restoring import GOES_TO, restorable
from invoicing.services.credit_notes import preview_credit_note

METHODS = (
    ("bank_transfer", "bank transfer"),
    ("card", "card"),
    ("direct_debit", "direct debit"),
    ("check", "check"),
    ("other", "other"),
)
_REASONS = {
    CreditNoteReason.BILLING_ERROR: "billing error: it was never owed",
    CreditNoteReason.DUPLICATE: "duplicate: it was charged twice",
    CreditNoteReason.CANCEL_FUTURE: "cancellation: the service to come is not wanted",
    CreditNoteReason.SERVICE_FAILURE: "service failure: what was delivered was not good",
    CreditNoteReason.GOODWILL: "goodwill",
    CreditNoteReason.FRAUDULENT: "fraudulent: the customer did not order it",
    CreditNoteReason.ORDER_CHANGE: "order change: something else was agreed",
    CreditNoteReason.PRODUCT_UNSATISFACTORY: "product unsatisfactory",
    CreditNoteReason.PRICE_CONCESSION: "price concession: a lower price was agreed",
}


# In the order of Settlement.
_WAYS = {"refund": "Refund", "balance": "Customer's balance", "out_of_band": "Given back already"}
_WORDS = {
    "refund": "owed until the refund is recorded",
    "balance": "pays the customer's next invoices",
    "out_of_band": "was returned elsewhere; the books say so at once",
}


class InvoiceForm(ActionForm):
    """The base of forms about one invoice."""

    subject: Invoice

    def facts(self) -> list[tuple[str, Any]]:
        """List what is claimed and what is still owed."""
        invoice = self.subject
        rows: list[tuple[str, Any]] = [
            ("Invoice", str(invoice)),
            ("Customer", invoice.customer.name),
            ("Total", money_text(invoice.total_minor, invoice.currency)),
        ]
        if invoice.number:
            rows.append(("Open", money_text(invoice.open_minor, invoice.currency)))
            rows.append(("Paid", money_text(invoice.paid_minor, invoice.currency)))
        return rows


class FinalizeForm(InvoiceForm):
    """What becomes final with a draft."""

    def facts(self) -> list[tuple[str, Any]]:
        """List the draft, its lines as they stand, and when its grace ends."""
        lines = self.subject.lines.order_by("position")
        return [
            *super().facts(),
            ("Grace ends", moment_html(self.subject.ready_at)),
            ("Lines", "; ".join(line.description for line in lines) or "none yet"),
        ]


class PaymentForm(InvoiceForm):
    """Money that came in for an invoice."""

    amount = AmountField()
    paid_at = forms.SplitDateTimeField(
        label="Paid at (UTC)", widget=UnfoldAdminSplitDateTimeWidget, initial=now
    )
    method = forms.ChoiceField(choices=METHODS, widget=UnfoldAdminSelectWidget)
    reference = forms.CharField(
        max_length=100,
        help_text="What the bank calls it. The same reference again is the same payment.",
        widget=UnfoldAdminTextInputWidget,
    )

    def __init__(self, *args: Any, subject: Invoice, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["amount"] = AmountField(
            currency=subject.currency,
            label=f"Amount in {subject.currency}",
            initial=Money(subject.open_minor + subject.written_off_minor, subject.currency).decimal,
        )
        self.order_fields(["amount", "paid_at", "method", "reference"])


class ApplyBalanceForm(InvoiceForm):
    """What the customer's balance would pay."""

    def facts(self) -> list[tuple[str, Any]]:
        """List the invoice, and what the balance pays of it."""
        invoice, has = self.subject, balance_of(self.subject)
        return [
            *super().facts(),
            ("Customer's balance", money_text(has, invoice.currency)),
            ("It pays", money_text(pays(has, invoice.open_minor), invoice.currency)),
        ]


class CreditNoteForm(InvoiceForm):
    """What to take off each line of an invoice, and how what was paid goes back.

    Without a settlement it goes to the customer's balance. Of lines that state credits used,
    credits go back to the grants that paid.
    """

    settles = True
    before_template = "backoffice/credit_note_lines.html"
    reason = forms.ChoiceField(
        choices=[("", "Choose"), *_REASONS.items()],
        help_text="It decides how revenue follows.",
        widget=UnfoldAdminSelectWidget,
    )
    memo = forms.CharField(
        label="Reason in words",
        max_length=500,
        help_text="Printed on the credit note.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )

    def __init__(self, *args: Any, subject: Invoice, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.lines = list(subject.lines.filter(amount_minor__gt=0).order_by("position"))
        for line in self.lines:
            self.fields[_field_of(line)] = AmountField(
                currency=subject.currency, required=False, min_value=0, label=line.description
            )
        stated = subject.lines.filter(kind=LineKind.CREDITS_USED).order_by("position")
        self.stated = list(stated.select_related("billing_period"))
        for line in self.stated:
            self.fields[_field_of(line)] = TypedDecimalField(
                max_digits=38, decimal_places=12, required=False, min_value=0,
                label=line.description,
                widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
            )  # fmt: skip
        ways = _WAYS if self.settles else {}
        for name, label in ways.items():
            self.fields[name] = AmountField(
                currency=subject.currency, required=False, min_value=0, label=label
            )
        lines = (*self.lines, *self.stated)
        self.table_fields = (*(_field_of(line) for line in lines), *ways)

    def clean(self) -> dict[str, Any]:
        """Refuse a note over nothing, more than is left of a line, and a wrong settlement."""
        cleaned = super().clean() or self.cleaned_data
        if "nonce" in cleaned and find_note_of(self.key):
            return cleaned  # A double click: the service returns the same note.
        for line in self.lines:
            left = line.amount_minor - line.credited_minor
            if (cleaned.get(_field_of(line)) or 0) > left:
                self.add_error(
                    _field_of(line), f"Only {money_text(left, self.subject.currency)} is left."
                )
        if not self.errors and not self.amounts() and not self.credits():
            raise ValidationError("Enter an amount for at least one line.")
        if not self.errors:
            self._refuse_unsettled()
        return cleaned

    def _refuse_unsettled(self) -> None:
        """Let the rule judge the settlement, before anything is written."""
        try:
            preview_credit_note(
                invoice=self.subject, lines=self.amounts(), restored=self.credits(),
                settlement=self.settlement(), at=now(),
            )  # fmt: skip
        except BillingError as error:
            if error.field != "settlement":
                raise ValidationError(error.message) from error
            self.add_error("refund", f"{error.message[:1].upper()}{error.message[1:]}.")

    def amounts(self) -> list[tuple[InvoiceLine, int]]:
        """List the lines to credit with their minor units."""
        chosen = ((line, self.cleaned_data.get(_field_of(line)) or 0) for line in self.lines)
        return [(line, amount) for line, amount in chosen if amount]

    def credits(self) -> list[tuple[InvoiceLine, Decimal]]:
        """List the lines that state credits with those that go back."""
        chosen = ((line, self.cleaned_data.get(_field_of(line))) for line in self.stated)
        return [(line, amount) for line, amount in chosen if amount]

    def settlement(self) -> Settlement | None:
        """Return how what was paid goes back, if the form says anything about it."""
        parts = [self.cleaned_data.get(name) for name in _WAYS]
        return None if all(part is None for part in parts) else Settlement(*(p or 0 for p in parts))

    @property
    def returns_something(self) -> bool:
        """Tell whether a note over all that is left would reach what was paid, to be settled."""
        return self.settles and self.left_minor > self.subject.open_minor

    @property
    def left_minor(self) -> int:
        """What notes may still take off the invoice."""
        return self.subject.total_minor - self.subject.credited_minor

    @property
    def returnable(self) -> str:
        """Write what may go back as money."""
        return money_text(paid_of(self.subject).left_minor, self.subject.currency)

    @property
    def decimals(self) -> int:
        """Decimals of the currency, for the sums on the page."""
        return exponent(self.subject.currency)

    def ways(self) -> list[dict[str, Any]]:
        """List the ways back, each with its field and what it means."""
        return [{"field": self[name], "words": _WORDS[name]} for name in _WAYS]

    def rows(self) -> list[dict[str, Any]]:
        """List each line with what it claims, what is left, and its field."""
        currency = self.subject.currency
        return [
            {
                "line": line,
                "amount": money_text(line.amount_minor, currency),
                "left": money_text(line.amount_minor - line.credited_minor, currency),
                "field": self[_field_of(line)],
            }
            for line in self.lines
        ]

    def stated_rows(self) -> list[dict[str, Any]]:
        """List each line of credits used with its field, and who would get them, in this order."""
        parts = restorable(self.stated, now())
        return [
            {
                "line": line,
                "used": f"{number_text(line.quantity)} {line.unit}",
                "back": [
                    f"{number_text(part.credits)} to {part.grant}{GOES_TO[part.goes_to]}"
                    for part in parts
                    if part.line.pk == line.pk
                ],
                "field": self[_field_of(line)],
            }
            for line in self.stated
        ]


class ProposedNoteForm(CreditNoteForm):
    """What finance is asked to take off and give back; what was paid becomes balance."""

    settles = False


def _field_of(line: InvoiceLine) -> str:
    return f"line_{line.pk}"
