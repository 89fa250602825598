"""What notes owe back: customers' balances, what these paid, refunds and those that failed."""

from django.contrib import admin
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    EMPTY,
    link,
    moment,
    money,
    money_text,
    object_link,
)
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from invoicing.admin.refund_forms import BalanceRefundForm, RefundFailureForm
from invoicing.models import BalanceApplication, CustomerBalance, Invoice, Refund, RefundFailure
from invoicing.services.refunds import record_balance_refund, record_refund_failure
from metering.models import Customer


def _has_balance(balance: CustomerBalance) -> bool:
    return balance.balance_minor > 0


@admin.register(CustomerBalance)
class CustomerBalanceAdmin(ReadOnlyAdmin):
    """What customers have with us; it pays their next invoices."""

    list_display = ("name", link("customer"), "currency", money("balance_minor", "balance"))
    list_filter = (("customer", AutocompleteSelectFilter), "currency")
    list_select_related = ("customer",)
    search_fields = ("customer__external_id", "customer__name")
    search_help_text = "Customer"
    ordering = ("-balance_minor",)
    fields = (link("customer"), money("balance_minor", "balance"))
    actions_detail = ("refund_balance",)

    @admin.display(description="Balance of")
    def name(self, balance: CustomerBalance) -> str:
        """Name whose balance it is."""
        return f"{balance.customer.name}, {balance.currency}"

    @form_action(
        "Refund balance",
        permission="invoicing.record_refund",
        form=BalanceRefundForm,
        icon="currency_exchange",
        offered=_has_balance,
        explanation="Record money that went back to the customer, as the bank or the payment"
        " provider made it. The balance falls by it, and pays less of the next invoices.",
    )
    def refund_balance(self, by: User, balance: CustomerBalance, form: BalanceRefundForm) -> str:
        """Record money that went back."""
        made = record_balance_refund(balance=balance, by=by, at=now(), **form.refund())
        amount = money_text(made.amount_minor, made.currency)
        return format_html("Recorded {} out of the balance: {}.", amount, object_link(made))


@admin.register(BalanceApplication)
class BalanceApplicationAdmin(ReadOnlyAdmin):
    """What balances paid of invoices."""

    list_display = (
        "__str__",
        link("invoice"),
        link("invoice.customer", "customer"),
        money("amount_minor", "amount"),
        moment("applied_at"),
        link("applied_by"),
    )
    list_filter = ("currency",)
    list_select_related = ("invoice__customer", "applied_by")
    search_fields = ("invoice__number", "invoice__customer__external_id")
    search_help_text = "Invoice number or customer"
    fields = (link("invoice"), money("amount_minor", "amount"), "applied_at", link("applied_by"))


def _has_not_failed(refund: Refund) -> bool:
    return not hasattr(refund, "failure")


@admin.register(Refund)
class RefundAdmin(ReadOnlyAdmin):
    """Money that went back to customers."""

    list_display = (
        "reference",
        link("credit_note"),
        link("customer"),
        money("amount_minor", "amount"),
        "method",
        moment("refunded_at"),
        "failed",
        link("recorded_by"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "method", "currency")
    list_select_related = ("customer", "credit_note", "recorded_by", "failure")
    search_fields = (*("reference", "credit_note__number", "customer__external_id", "source_key"),)
    search_help_text = "Reference, credit note number, customer or idempotency key"
    fields = (
        link("customer"),
        link("credit_note"),
        money("amount_minor", "amount"),
        "method",
        "reference",
        "refunded_at",
        "failed",
        link("recorded_by"),
        "recorded_at",
        "source_key",
    )
    actions_detail = ("fail",)

    @admin.display(description="Failed")
    def failed(self, refund: Refund) -> str:
        """Link to the failure, if it came back."""
        return EMPTY if _has_not_failed(refund) else object_link(refund.failure, "to the balance")

    @form_action(
        "Record failure",
        permission="invoicing.record_refund",
        form=RefundFailureForm,
        icon="undo",
        offered=_has_not_failed,
        is_final=True,
        takes_away=True,
        explanation="The money came back: the whole refund becomes the customer's balance and pays"
        " their next invoices.",
    )
    def fail(self, by: User, refund: Refund, form: RefundFailureForm) -> str:
        """Record that a refund came back."""
        record_refund_failure(
            refund=refund,
            reason=form.cleaned_data["reason"],
            failed_at=form.cleaned_data["failed_at"],
            by=by,
            at=now(),
        )
        amount = money_text(refund.amount_minor, refund.currency)
        return f"{amount} are the customer's balance now."


@admin.register(RefundFailure)
class RefundFailureAdmin(ReadOnlyAdmin):
    """Refunds that came back."""

    list_display = (
        "__str__",
        link("refund"),
        money("refund.amount_minor", "amount", currency="refund.currency"),
        "reason",
        moment("failed_at"),
        link("recorded_by"),
    )
    list_select_related = ("refund", "recorded_by")
    search_fields = ("refund__reference", "reason")
    search_help_text = "Reference of the refund, or the reason"
    fields = (link("refund"), "reason", "failed_at", link("recorded_by"), "recorded_at")


def _of_customer(customer: Customer) -> dict[str, object]:
    return {"customer__id__exact": customer.pk}


offer_list(Customer, CustomerBalance, _of_customer, icon="account_balance_wallet")
offer_list(Customer, Refund, _of_customer, icon="currency_exchange")
offer_list(CustomerBalance, Refund, lambda balance: _of_customer(balance.customer))
offer_list(Invoice, BalanceApplication, lambda i: {"invoice__id__exact": i.pk}, icon="wallet")
