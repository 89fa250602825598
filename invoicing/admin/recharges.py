"""Balances that are filled by themselves: what customers agreed to, and what was bought so."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    badge,
    badge_html,
    link,
    moment,
    money,
    number,
)
from billing_project.kernel.backoffice.forms import ActionForm, CreditsField, ReasonForm
from billing_project.kernel.backoffice.numbers import TypedDecimalField, TypedIntegerField
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import Money, exponent
from credits.admin.rate_fields import CustomerField
from credits.models import PricingUnit
from invoicing.models import AutoRecharge, Recharge
from invoicing.services.recharging import Wish, end_recharge, set_up_recharge
from metering.models import Customer

_MAY = "invoicing.manage_autorecharge"
_STATES = {"open": "wait", "paid": "good", "failed": "bad"}


def _amount(label: str, help_text: str) -> TypedDecimalField:
    return TypedDecimalField(
        label=label, max_digits=30, decimal_places=12, min_value=0, help_text=help_text,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
    )  # fmt: skip


class RechargeForm(ActionForm):
    """What a customer agreed to."""

    customer = CustomerField(label="Customer's external id")
    pricing_unit = forms.ModelChoiceField(
        PricingUnit.objects.order_by("code"), label="Kind of credits", empty_label=None,
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
    threshold = CreditsField(label="Below credits", help_text="Then credits are bought.")
    amount = CreditsField(label="Buy credits", required=False, help_text="Each time so many.")
    target = CreditsField(
        label="Or up to credits", required=False, help_text="Instead of an amount."
    )
    unit_price = _amount("Price of a credit", "In the customer's currency, ex tax.")
    monthly_limit = _amount("Most in a month", "Ex tax, in the customer's currency and month.")
    cool_down = TypedIntegerField(
        label="Minutes between two", min_value=0, initial=60, widget=UnfoldAdminIntegerFieldWidget
    )
    most_failures = TypedIntegerField(
        label="Off after failed payments", min_value=1, max_value=20, initial=3,
        widget=UnfoldAdminIntegerFieldWidget,
    )  # fmt: skip
    consented_by = forms.CharField(
        label="Who agreed", max_length=200, widget=UnfoldAdminTextInputWidget,
        help_text="Of the customer's, by name.",
    )  # fmt: skip
    consented_at = forms.SplitDateTimeField(
        label="Agreed on (UTC)", widget=UnfoldAdminSplitDateTimeWidget
    )
    consent = forms.CharField(
        label="What they agreed to", widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="In their words, or where it is kept.",
    )  # fmt: skip

    def wish(self) -> Wish:
        """Return what is wanted."""
        said = self.cleaned_data
        currency = said["customer"].currency
        limit = said["monthly_limit"].scaleb(exponent(currency))
        if limit != int(limit):
            decimals = exponent(currency)
            raise Invalid(f"{currency} has {decimals} decimals", field="monthly_limit")
        return Wish(
            pricing_unit=said["pricing_unit"], threshold=said["threshold"],
            amount=said["amount"], target=said["target"], unit_price=said["unit_price"],
            monthly_limit=Money(int(limit), currency), most_failures=said["most_failures"],
            cool_down=timedelta(minutes=said["cool_down"]), consent=said["consent"],
            consented_by=said["consented_by"], consented_at=said["consented_at"],
        )  # fmt: skip


@admin.register(AutoRecharge)
class AutoRechargeAdmin(ReadOnlyAdmin):
    """What customers agreed to; the newest that has not ended stands."""

    list_display = (
        link("customer"),
        number("threshold", "below", unit="pricing_unit.code"),
        number("amount"),
        number("target", "up to"),
        money("monthly_limit_minor", "a month"),
        "state",
        link("set_up_by", "set up by"),
        moment("set_up_at", "set up"),
    )
    list_filter = (
        ("customer", AutocompleteSelectFilter), ("ended_at", admin.EmptyFieldListFilter),
    )  # fmt: skip
    list_select_related = ("customer", "pricing_unit", "set_up_by", "ended_by")
    search_fields = ("customer__external_id", "customer__name")
    search_help_text = "Customer"
    fields = (
        link("customer"),
        number("threshold", "below", unit="pricing_unit.code"),
        number("amount", "buys"),
        number("target", "up to"),
        number("unit_price", "price of a credit"),
        "currency",
        money("monthly_limit_minor", "most in a month"),
        "cool_down_seconds",
        "most_failures",
        ("consented_by", moment("consented_at", "agreed")),
        "consent",
        (link("set_up_by", "set up by"), moment("set_up_at", "set up")),
        "state",
        (link("ended_by", "ended by"), moment("ended_at", "ended"), "end_reason"),
    )
    actions_list = ("set_up",)
    actions_detail = ("switch_off",)

    @admin.display(description="State")
    def state(self, row: AutoRecharge) -> str:
        """Show whether it stands."""
        return badge_html("off", "bad") if row.ended_at else badge_html("on", "good")

    @list_action(
        "Set up auto-recharge",
        permission=_MAY,
        form=RechargeForm,
        explanation="Credits are bought by themselves where a balance falls below. Each purchase is"
        " an invoice; credits come with its payment. One that stands is replaced.",
    )
    def set_up(self, by: User, form: RechargeForm) -> tuple[Model, str]:
        """Write what a customer agreed to."""
        customer: Customer = form.cleaned_data["customer"]
        row = set_up_recharge(customer=customer, wish=form.wish(), by=by, at=now())
        return row, "It stands from now on."

    @form_action(
        "Switch off",
        permission=_MAY,
        icon="power_settings_new",
        offered=lambda row: row.ended_at is None,
        takes_away=True,
        explanation="Nothing is bought by itself any more; an open purchase goes on.",
    )
    def switch_off(self, by: User, row: AutoRecharge, form: ReasonForm) -> str:
        """End it."""
        end_recharge(row=row, reason=form.cleaned_data["reason"][:500], by=by, at=now())
        return "It is off."


@admin.register(Recharge)
class RechargeAdmin(ReadOnlyAdmin):
    """What was bought by itself: its invoice asks for the payment, credits follow."""

    list_display = (
        "__str__",
        link("customer"),
        number("credits", unit="pricing_unit.code"),
        money("price_minor", "price"),
        link("invoice"),
        badge("state", _STATES),
        moment("opened_at", "bought"),
        moment("closed_at", "closed"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "state")
    list_select_related = ("auto_recharge__customer", "customer", "pricing_unit", "invoice")
    search_fields = ("customer__external_id", "invoice__number")
    search_help_text = "Customer or invoice number"
    fields = (
        link("auto_recharge", "agreed"),
        link("customer"),
        number("available", "left before", unit="pricing_unit.code"),
        number("credits", unit="pricing_unit.code"),
        money("price_minor", "price"),
        link("invoice"),
        "month_on",
        badge("state", _STATES),
        moment("opened_at", "bought"),
        moment("closed_at", "closed"),
    )


def _of_customer(customer: Any) -> dict[str, Any]:
    return {"customer__id__exact": customer.pk}


offer_list(Customer, AutoRecharge, _of_customer, title="Auto-recharge", icon="bolt")
offer_list(
    AutoRecharge, Recharge, lambda row: {"auto_recharge__id__exact": row.pk}, icon="shopping_cart"
)
