"""Forms of refunds: made, or failed."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.display import moment_text, money_text
from billing_project.kernel.backoffice.forms import ActionForm, AmountField, ReasonField
from billing_project.kernel.clock import now
from billing_project.kernel.money import Money
from invoicing.admin.forms import METHODS
from invoicing.models import CreditNote, Refund
from invoicing.selectors import refund_left


class RefundForm(ActionForm):
    """Money that went back for a credit note."""

    subject: CreditNote

    amount = AmountField()
    refunded_at = forms.SplitDateTimeField(
        label="Refunded at (UTC)", widget=UnfoldAdminSplitDateTimeWidget, initial=now
    )
    method = forms.ChoiceField(choices=METHODS, widget=UnfoldAdminSelectWidget)
    reference = forms.CharField(
        max_length=100,
        help_text="What the bank or the payment provider calls it.",
        widget=UnfoldAdminTextInputWidget,
    )

    def __init__(self, *args: Any, subject: CreditNote, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["amount"] = AmountField(
            currency=subject.currency,
            label=f"Amount in {subject.currency}",
            initial=Money(refund_left(subject), subject.currency).decimal,
        )
        self.order_fields(["amount", "refunded_at", "method", "reference"])

    def facts(self) -> list[tuple[str, Any]]:
        """List what the note promises, and what is left of that."""
        note = self.subject
        return [
            ("Credit note", str(note)),
            ("Invoice", str(note.invoice)),
            ("Customer", note.invoice.customer.name),
            ("To refund", money_text(note.refund_minor, note.currency)),
            ("Left to refund", money_text(refund_left(note), note.currency)),
        ]


class RefundFailureForm(ActionForm):
    """A refund that came back."""

    subject: Refund

    reason = ReasonField(
        max_length=500, help_text="What the bank or the payment provider says; kept for audit."
    )
    failed_at = forms.SplitDateTimeField(
        label="Failed at (UTC)", widget=UnfoldAdminSplitDateTimeWidget, initial=now
    )

    def facts(self) -> list[tuple[str, Any]]:
        """List the refund."""
        refund = self.subject
        return [
            ("Refund", f"{refund.method} {refund.reference}"),
            ("Amount", money_text(refund.amount_minor, refund.currency)),
            ("Refunded at", moment_text(refund.refunded_at)),
        ]
