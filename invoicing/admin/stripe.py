"""Collecting through Stripe: tries, what was asked for, what came, and where both sides differ."""

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    badge,
    badge_html,
    link,
    moment,
    moment_html,
    money,
    number,
    object_link,
)
from billing_project.kernel.backoffice.forms import ActionForm, ReasonForm
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from invoicing.models import (
    Invoice,
    MirroredUsage,
    ParkedEvent,
    PaymentAttempt,
    StripeCall,
    StripeCustomer,
    StripeDifference,
    StripeEvent,
    StripeMeter,
)
from invoicing.stripe_sync.pages import card_page
from invoicing.stripe_sync.settling import adopt_refund, explain_difference, is_foreign_refund
from metering.models import Customer

_ATTEMPTS = {"open": "wait", "succeeded": "good", "declined": "bad", "not_made": "info"}
_CALLS = {"pending": "wait", "unknown": "wait", "done": "good", "failed": "bad"}


class CardPageForm(ActionForm):
    """For whom a page is made."""

    subject: StripeCustomer

    def facts(self) -> list[tuple[str, Any]]:
        """Name the customer, and the card that is charged now."""
        row = self.subject
        return [
            ("Customer", row.customer.name),
            ("Mail", row.customer.email or "none is known"),
            ("Charged now", row.payment_method or "nothing"),
        ]


@admin.register(PaymentAttempt)
class PaymentAttemptAdmin(ReadOnlyAdmin):
    """Tries to collect invoices, and when the next one is due."""

    list_display = (
        "__str__",
        link("invoice"),
        link("invoice.customer", "customer"),
        money("amount_minor", "amount"),
        badge("state", _ATTEMPTS),
        "failure_code",
        moment("created_at"),
        moment("retry_at"),
    )
    list_filter = ("state", "failure_code", "currency")
    list_select_related = ("invoice__customer",)
    search_fields = ("invoice__number", "invoice__customer__external_id", "call__stripe_id")
    search_help_text = "Invoice number, customer or Stripe's id of the payment"
    fields = (
        link("invoice"),
        "number",
        link("call"),
        money("amount_minor", "amount"),
        badge("state", _ATTEMPTS),
        "failure_code",
        "created_at",
        "closed_at",
        "retry_at",
        "told_at",
    )


@admin.register(StripeCustomer)
class StripeCustomerAdmin(ReadOnlyAdmin):
    """Customers at Stripe, and the payment method that is charged."""

    list_display = (
        "stripe_id",
        link("customer"),
        "payment_method",
        moment("payment_method_at", "method since"),
        moment("created_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter),)
    list_select_related = ("customer",)
    search_fields = ("stripe_id", "payment_method", "customer__external_id", "customer__name")
    search_help_text = "Customer, or an id of Stripe"
    fields = (
        link("customer"),
        "stripe_id",
        "payment_method",
        "payment_method_at",
        "created_at",
    )
    actions_detail = ("ask_for_card",)

    @form_action(
        "Ask for a card",
        permission="invoicing.record_payment",
        form=CardPageForm,
        icon="add_card",
        explanation="Make a page at Stripe where the customer types a card. Send them its address;"
        " it lives for a day. The card is charged from then on.",
    )
    def ask_for_card(self, by: User, row: StripeCustomer, form: CardPageForm) -> str:
        """Make a page and show its address."""
        url = card_page(customer=row.customer, by=by, at=now())
        return format_html('The page for the customer: <a href="{}">{}</a>', url, url)


class DifferenceForm(ReasonForm):
    """Why a difference is right as it is, by what the page showed of it."""

    subject: StripeDifference
    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, subject: StripeDifference, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["shown"].initial = _as_shown(subject)

    def clean(self) -> dict[str, Any]:
        """Refuse to explain what a run has found otherwise since."""
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("shown") != _as_shown(self.subject):
            raise forms.ValidationError("It has changed since it was shown: reload the page.")
        return cleaned

    def facts(self) -> list[tuple[str, Any]]:
        """List both sides."""
        return _sides(self.subject)


class AdoptForm(ActionForm):
    """A refund that only Stripe has."""

    subject: StripeDifference

    def facts(self) -> list[tuple[str, Any]]:
        """List both sides."""
        return _sides(self.subject)


def _sides(row: StripeDifference) -> list[tuple[str, Any]]:
    return [
        ("What", row.subject),
        ("Here", row.here or "nothing"),
        ("At Stripe", row.there or "nothing"),
        ("Answers for it", row.owner),
        ("First seen", moment_html(row.first_seen_at)),
    ]


def _as_shown(row: StripeDifference) -> str:
    return json.dumps([row.here, row.there])


def _is_open(row: StripeDifference) -> bool:
    return row.resolved_at is None


def _may_adopt(row: StripeDifference) -> bool:
    return _is_open(row) and is_foreign_refund(row)


@admin.register(StripeDifference)
class StripeDifferenceAdmin(ReadOnlyAdmin):
    """What Stripe and we do not agree about, and who answers for it."""

    list_display = (
        "subject",
        "kind",
        "here",
        "there",
        "owner",
        moment("first_seen_at"),
        "standing",
    )
    list_filter = ("kind", "owner", ("resolved_at", admin.EmptyFieldListFilter))
    search_fields = ("subject",)
    search_help_text = "Name or id of the thing"
    fields = (
        *("subject", "kind", "here", "there", "owner"),
        *("first_seen_at", "last_seen_at", "resolved_at", "explanation", "explained_by"),
    )
    actions_detail = ("explain", "adopt")

    @admin.display(description="now", ordering="resolved_at")
    def standing(self, row: StripeDifference) -> str:
        """Say whether it is open, was explained, or is gone."""
        if row.resolved_at is None:
            return badge_html("open", "bad")
        return badge_html("explained", "info") if row.explanation else badge_html("gone", "good")

    @form_action(
        "Explain",
        permission="invoicing.record_payment",
        form=DifferenceForm,
        icon="rate_review",
        offered=_is_open,
        explanation="It is right as it is, and this is why. It opens again once either side"
        " changes; nothing else here changes by it.",
    )
    def explain(self, by: User, row: StripeDifference, form: DifferenceForm) -> str:
        """Close it with a reason."""
        reason = form.cleaned_data["reason"]
        explain_difference(difference=row, reason=reason, by=by, at=now())
        return f"{row.subject} is explained."

    @form_action(
        "Record this refund",
        permission="invoicing.record_refund",
        form=AdoptForm,
        icon="currency_exchange",
        offered=_may_adopt,
        explanation="It was made at Stripe's dashboard. It is recorded out of the customer's"
        " balance: credit the invoice to the balance first, so that the note says what for.",
    )
    def adopt(self, by: User, row: StripeDifference, form: AdoptForm) -> str:
        """Take a refund of the dashboard into the books."""
        made = adopt_refund(difference=row, by=by, at=now())
        return format_html("Recorded: {}.", object_link(made))


@admin.register(ParkedEvent)
class ParkedEventAdmin(ReadOnlyAdmin):
    """Webhooks that were genuine and could not take effect; they changed nothing."""

    list_display = (
        "stripe_id",
        "type",
        "object_id",
        "reason",
        "owner",
        "delivery_count",
        moment("last_at"),
        moment("parked_at"),
    )
    list_filter = ("reason", "owner", ("parked_at", admin.EmptyFieldListFilter))
    search_fields = ("stripe_id", "object_id")
    search_help_text = "Stripe's id of the event or its object"
    fields = (
        *("stripe_id", "type", "object_id", "reason", "detail", "owner"),
        *("delivery_count", "first_at", "last_at", "parked_at"),
    )


@admin.register(StripeCall)
class StripeCallAdmin(LargeTableAdmin):
    """What Stripe was asked for, and what is known of it."""

    list_display = (
        "idempotency_key",
        link("customer"),
        "kind",
        badge("state", _CALLS),
        "attempt_count",
        moment("created_at"),
        moment("next_at"),
        "error_code",
    )
    list_filter = ("kind", "state")
    list_select_related = ("customer",)
    search_fields = ("idempotency_key", "stripe_id")
    search_help_text = "Idempotency key or Stripe's id, exactly"
    fields = (
        "idempotency_key",
        link("customer"),
        "kind",
        "subject",
        "generation",
        "params",
        badge("state", _CALLS),
        "stripe_id",
        "attempt_count",
        "first_sent_at",
        "next_at",
        "finished_at",
        "error_code",
        "error",
        "created_at",
    )


@admin.register(MirroredUsage)
class MirroredUsageAdmin(LargeTableAdmin):
    """Usage that Stripe was told of: what waits, what it has, and what it refused, with why."""

    list_display = (
        "__str__",
        link("window.customer", "customer"),
        link("window.meter", "meter"),
        moment("window.start_at", "hour"),
        number("quantity"),
        badge("call.state", _CALLS, "at Stripe"),
        "refused",
    )
    list_filter = ("call__state",)
    list_select_related = ("window__customer", "window__meter", "call")
    fields = (
        link("window"),
        "revision",
        number("quantity"),
        link("call"),
        badge("call.state", _CALLS, "at Stripe"),
        "refused",
    )

    @admin.display(description="refused, or lost for now")
    def refused(self, row: MirroredUsage) -> str:
        """Say in Stripe's words why it was not taken."""
        return row.call.error or row.call.error_code or "-"


@admin.register(StripeMeter)
class StripeMeterAdmin(ReadOnlyAdmin):
    """Meters by their names at Stripe."""

    list_display = ("stripe_id", link("meter"), moment("created_at"))
    list_select_related = ("meter",)
    search_fields = ("stripe_id", "meter__code")
    search_help_text = "Meter, or Stripe's id of it"
    fields = (link("meter"), "stripe_id", "created_at")


@admin.register(StripeEvent)
class StripeEventAdmin(LargeTableAdmin):
    """Webhooks that took effect."""

    list_display = (
        "stripe_id",
        "type",
        "object_id",
        "effect",
        moment("made_at"),
        moment("received_at"),
    )
    list_filter = ("type",)
    search_fields = ("stripe_id", "object_id")
    search_help_text = "Stripe's id of the event or its object, exactly"
    fields = ("stripe_id", "type", "object_id", "effect", "made_at", "received_at")


offer_list(Invoice, PaymentAttempt, lambda i: {"invoice__id__exact": i.pk}, icon="credit_card")
offer_list(Customer, StripeCustomer, lambda c: {"customer__id__exact": c.pk}, icon="contact_page")
