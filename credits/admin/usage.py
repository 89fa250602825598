"""Usage that was given a price in credits, by billing period."""

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.base import (
    Fresh,
    LargeTableAdmin,
    ReadOnlyAdmin,
    ReadOnlyInline,
)
from billing_project.kernel.backoffice.display import (
    badge,
    document,
    link,
    moment,
    number,
    number_text,
)
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from credits.models import BillingPeriod, LedgerTransaction, RatedUsage
from credits.selectors import drawn_of_period, overage_of_period, rating_state
from metering.models import Customer, UsageWindow

KIND_TONES = {
    "granted": "good",
    "drawn": "info",
    "returned": "wait",
    "expired": "",
    "voided": "bad",
}


class DrawdownInline(ReadOnlyInline):
    """Which grants paid for the usage."""

    model = LedgerTransaction
    fields = (
        link("grant"),
        badge("kind", KIND_TONES),
        number("credits"),
        link("credit_policy", "burn order"),
        "effective_at",
    )
    list_select_related = ("grant", "credit_policy")
    verbose_name_plural = "ledger transactions"
    tab = False


@admin.register(BillingPeriod)
class BillingPeriodAdmin(ReadOnlyAdmin):
    """Spans over which a customer's usage accumulates."""

    list_display = (
        "__str__",
        link("customer"),
        link("rate_card"),
        moment("start_at"),
        moment("end_at"),
        "source_key",
    )
    list_filter = (("customer", AutocompleteSelectFilter),)
    list_select_related = ("customer", "rate_card")
    search_fields = ("customer__external_id", "source_key")
    search_help_text = "Customer's external id or source key"
    ordering = ("-start_at", "-id")
    fields = (
        link("customer"),
        link("rate_card"),
        "start_at",
        "end_at",
        "drawn",
        "overage",
        "source_key",
    )

    @admin.display(description="Credits drawn")
    def drawn(self, period: BillingPeriod) -> str:
        """Show what grants covered."""
        return number_text(drawn_of_period(period))

    @admin.display(description="Credits over")
    def overage(self, period: BillingPeriod) -> str:
        """Show what no grant covered."""
        return number_text(overage_of_period(period))


@admin.register(RatedUsage)
class RatedUsageAdmin(LargeTableAdmin):
    """Charges for changes of usage windows: charge = drawn + overage + forgiven."""

    list_display = (
        "source_key",
        link("customer"),
        link("window", text="window.meter.code"),
        number("quantity", unit="window.meter.unit"),
        number("charge", "charge in credits"),
        number("drawn"),
        number("overage"),
        moment("service_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter),)
    list_select_related = ("customer", "window__meter")
    search_fields = ("source_key", "customer__external_id")
    search_help_text = "Source key (window:9:r2) or customer's external id, exactly"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("source_key", link("customer")),
                    (link("window", text="window.meter.code"), "window_revision"),
                    ("service_at", link("billing_period")),
                )
            },
        ),
        (
            "Charge in credits",
            {
                "fields": (
                    (number("quantity", unit="window.meter.unit"), number("charge")),
                    (number("drawn"), number("overage"), number("forgiven")),
                )
            },
        ),
        (
            "By which rule",
            {
                "fields": (
                    (link("rate_card_version"), link("rate", text="rate.meter_code")),
                    document("tiers"),
                    "rated_at",
                )
            },
        ),
    )
    inlines = (DrawdownInline,)

    def freshness(self) -> Fresh:
        """Say until when usage is in the balances."""
        return rating_state(now())


def _of_customer(customer: Customer) -> dict[str, object]:
    return {"customer__id__exact": customer.pk}


offer_list(Customer, BillingPeriod, _of_customer, icon="date_range")
offer_list(Customer, RatedUsage, _of_customer, icon="calculate")
offer_list(UsageWindow, RatedUsage, lambda window: {"window__id__exact": window.pk})
offer_list(BillingPeriod, RatedUsage, lambda period: {"billing_period__id__exact": period.pk})
