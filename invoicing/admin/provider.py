"""What payment providers and banks did besides paying: disputes, overpayments, fees."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import EMPTY, link, moment, money, object_link
from billing_project.kernel.backoffice.related import offer_list
from invoicing.models import Dispute, DisputeOutcome, Invoice, Overpayment, ProcessorFee
from metering.models import Customer


class OutcomeFilter(admin.SimpleListFilter):
    """Disputes that are open, won or lost."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(
        self, request: HttpRequest, model_admin: "admin.ModelAdmin[Dispute]"
    ) -> list[tuple[str, str]]:
        """Name the choices."""
        return [("open", "Open"), ("won", "Won"), ("lost", "Lost")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Dispute]) -> QuerySet[Dispute]:
        """Keep what was chosen."""
        chosen = self.value()
        if chosen == "open":
            return queryset.filter(outcome=None)
        return queryset.filter(outcome__verdict=chosen) if chosen else queryset


@admin.register(Dispute)
class DisputeAdmin(ReadOnlyAdmin):
    """Payments that a bank took back until it is decided who is right."""

    list_display = (
        "reference",
        link("invoice"),
        link("customer"),
        money("amount_minor", "amount"),
        "reason",
        moment("opened_at"),
        "ended",
    )
    list_filter = (("customer", AutocompleteSelectFilter), OutcomeFilter, "reason", "currency")
    list_select_related = ("customer", "invoice", "outcome")
    search_fields = ("reference", "invoice__number", "customer__external_id")
    search_help_text = "Reference, invoice number or customer"
    fields = (
        link("customer"),
        link("invoice"),
        money("amount_minor", "amount"),
        "reason",
        "opened_at",
        "ended",
        "method",
        "reference",
        link("recorded_by"),
        "recorded_at",
    )

    @admin.display(description="Outcome")
    def ended(self, dispute: Dispute) -> str:
        """Say how it ended; while it is open, the money is parked and credits are frozen."""
        outcome = getattr(dispute, "outcome", None)
        return format_html("{}", object_link(outcome, outcome.verdict)) if outcome else EMPTY


@admin.register(DisputeOutcome)
class DisputeOutcomeAdmin(ReadOnlyAdmin):
    """How disputes ended."""

    list_display = (
        "__str__",
        link("dispute"),
        money("dispute.amount_minor", "amount", currency="dispute.currency"),
        "verdict",
        moment("decided_at"),
        link("recorded_by"),
    )
    list_filter = ("verdict",)
    list_select_related = ("dispute", "recorded_by")
    search_fields = ("dispute__reference",)
    search_help_text = "Reference of the dispute"
    fields = (link("dispute"), "verdict", "decided_at", link("recorded_by"), "recorded_at")


@admin.register(Overpayment)
class OverpaymentAdmin(ReadOnlyAdmin):
    """Money that came beyond what was owed; it is the customer's balance."""

    list_display = (
        "reference",
        link("invoice"),
        link("customer"),
        money("amount_minor", "amount"),
        "method",
        moment("paid_at"),
        link("recorded_by"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "method", "currency")
    list_select_related = ("customer", "invoice", "recorded_by")
    search_fields = ("reference", "invoice__number", "customer__external_id")
    search_help_text = "Reference, invoice number or customer"
    fields = (
        link("customer"),
        link("invoice"),
        money("amount_minor", "amount"),
        "paid_at",
        "method",
        "reference",
        link("recorded_by"),
        "recorded_at",
    )


@admin.register(ProcessorFee)
class ProcessorFeeAdmin(ReadOnlyAdmin):
    """What payment providers kept for payments and disputes."""

    list_display = (
        "reference",
        link("customer"),
        "kind",
        link("payment"),
        link("dispute"),
        money("amount_minor", "amount"),
        moment("charged_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "kind", "method", "currency")
    list_select_related = ("customer", "payment", "dispute")
    search_fields = ("reference", "payment__reference", "dispute__reference")
    search_help_text = "Reference of the movement, the payment or the dispute"
    fields = (
        link("customer"),
        "kind",
        link("payment"),
        link("dispute"),
        money("amount_minor", "amount"),
        "charged_at",
        "method",
        "reference",
        link("recorded_by"),
        "recorded_at",
    )


def _of_customer(customer: Customer) -> dict[str, object]:
    return {"customer__id__exact": customer.pk}


offer_list(Customer, Dispute, _of_customer, icon="gavel")
offer_list(Invoice, Dispute, lambda i: {"invoice__id__exact": i.pk}, icon="gavel")
offer_list(Invoice, Overpayment, lambda i: {"invoice__id__exact": i.pk}, icon="add_card")
