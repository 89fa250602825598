"""Forms of refunds: made, or failed."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.display import moment_html, money_text
from billing_project.kernel.backoffice.forms import ActionForm, AmountField, ReasonField
from billing_project.kernel.clock import now
from billing_project.kernel.money import Money
from invoicing.admin.forms import METHODS
from invoicing.models import CreditNote, CustomerBalance, Refund
from invoicing.selectors import refund_left


class MoneyBackForm(ActionForm):
    """The base of forms about money that went back, in one currency."""

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

    def __init__(self, *args: Any, subject: Any, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["amount"] = AmountField(
            currency=subject.currency,
            label=f"Amount in {subject.currency}",
            initial=Money(self.left_minor(), subject.currency).decimal,
        )
        self.order_fields(["amount", "refunded_at", "method", "reference"])

    def left_minor(self) -> int:
        """Return what may go back, in minor units."""
        raise NotImplementedError

    def refund(self) -> dict[str, Any]:
        """Return what the services want to know of a refund."""
        data = self.cleaned_data
        return {
            "amount_minor": data["amount"],
            **{name: data[name] for name in ("method", "reference", "refunded_at")},
            "key": self.key,
        }


class RefundForm(MoneyBackForm):
    """Money that went back for a credit note."""

    subject: CreditNote

    def left_minor(self) -> int:
        """Return what the note still has to refund."""
        return refund_left(self.subject)

    def facts(self) -> list[tuple[str, Any]]:
        """List what the note promises, and what is left of that."""
        note = self.subject
        return [
            ("Credit note", str(note)),
            ("Invoice", str(note.invoice)),
            ("Customer", note.invoice.customer.name),
            ("To refund", money_text(note.refund_minor, note.currency)),
            ("Left to refund", money_text(self.left_minor(), note.currency)),
        ]


class BalanceRefundForm(MoneyBackForm):
    """Money that went back out of a customer's balance."""

    subject: CustomerBalance

    def left_minor(self) -> int:
        """Return the balance."""
        return self.subject.balance_minor

    def facts(self) -> list[tuple[str, Any]]:
        """List whose balance it is, and how much."""
        balance = self.subject
        return [
            ("Customer", balance.customer.name),
            ("Balance", money_text(balance.balance_minor, balance.currency)),
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
            ("Refunded at", moment_html(refund.refunded_at)),
        ]
