"""Markets with their checklists and taxes, and customers' tax ids: finance."""

from typing import Any, ClassVar

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    badge_html,
    link,
    moment,
    moment_html,
    money,
    number,
)
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.backoffice.related import offer_list
from invoicing.models import CustomerTaxId, MarketGate, TaxRate
from metering.models import Customer


class _VersionAdmin(ReadOnlyAdmin):
    """A page of versions, with the decision on each; they are drafted as policy changes."""

    fields: ClassVar[tuple[Any, ...] | None] = None
    fieldsets: ClassVar[tuple[Any, ...] | None] = None

    @admin.display(description="Status")
    def status(self, version: Any) -> str:
        """Show the decision on the version."""
        return badge_html(version.policy_change.status, POLICY_TONES[version.policy_change.status])

    @admin.display(description="In force from")
    def governs_from(self, version: Any) -> str:
        """Show since when the version counts."""
        return moment_html(version.policy_change.effective_at)


@admin.register(MarketGate)
class MarketGateAdmin(_VersionAdmin):
    """Where we may sell: without an approved checklist in force nothing is sold or issued there."""

    list_display = (
        "__str__",
        link("entity", "sold by"),
        "country",
        "currency",
        "tax_registration",
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("entity", "country", "currency", "tax_registration", "policy_change__status")
    list_select_related = ("policy_change", "entity")
    search_fields = ("country", "currency", "policy_change__subject")
    search_help_text = "Country, currency or the policy change's subject"
    ordering = ("-id",)
    fields = (
        link("entity", "sold by"),
        "country",
        "currency",
        "number",
        "status",
        "governs_from",
        link("policy_change"),
        "tax_registration",
        "tax_number",
        "registered_on",
        money("threshold_minor", "threshold of sales"),
        "settlement_currency",
        "bank_country",
        "payout_days",
    )


@admin.register(TaxRate)
class TaxRateAdmin(_VersionAdmin):
    """What is charged on sales to a country where we are registered."""

    list_display = (
        "__str__",
        "country",
        number("rate"),
        "is_inclusive",
        "has_reverse_charge",
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("country", "policy_change__status")
    list_select_related = ("policy_change",)
    search_fields = ("country", "name", "policy_change__subject")
    search_help_text = "Country, name of the tax or the policy change's subject"
    ordering = ("-id",)
    fields = (
        "country",
        "number",
        "name",
        number("rate"),
        "is_inclusive",
        "has_reverse_charge",
        "status",
        "governs_from",
        link("policy_change"),
    )


@admin.register(CustomerTaxId)
class CustomerTaxIdAdmin(ReadOnlyAdmin):
    """Customers' tax ids in good form; the newest of a customer counts."""

    list_display = (
        "__str__",
        link("customer"),
        "kind",
        moment("recorded_at"),
        link("recorded_by"),
    )
    list_filter = ("kind", ("customer", AutocompleteSelectFilter))
    list_select_related = ("customer", "recorded_by")
    search_fields = ("value", "customer__external_id", "customer__name")
    search_help_text = "Tax id or customer"
    fields = (link("customer"), "kind", "value", "recorded_at", link("recorded_by"))


offer_list(Customer, CustomerTaxId, lambda c: {"customer__id__exact": c.pk}, icon="badge")
