"""What is sold, on which approved terms."""

from django.contrib import admin

from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import (
    badge_html,
    link,
    moment_html,
    money,
    money_text,
    number,
)
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.quantity import how_many
from invoicing.models import Anchor, Plan, PlanItem, PlanVersion, Subscription


class PlanVersionInline(ReadOnlyInline):
    """A plan's versions, newest first."""

    model = PlanVersion
    fields = (
        link("policy_change", "version", text="policy_change.subject"),
        money("fee_minor"),
        number("included_credits"),
        number("overage_price_unrounded", "overage per credit", unit="currency"),
        "status",
    )
    list_select_related = ("policy_change",)
    ordering = ("-number",)
    tab = False

    def status(self, version: PlanVersion) -> str:
        """Show the decision on the version."""
        return badge_html(version.policy_change.status, POLICY_TONES[version.policy_change.status])


@admin.register(Plan)
class PlanAdmin(ReadOnlyAdmin):
    """Named packages."""

    list_display = ("code", "name")
    search_fields = ("code", "name")
    ordering = ("code",)
    fields = ("code", "name")
    inlines = (PlanVersionInline,)


class PlanItemInline(ReadOnlyInline):
    """What a version sells beside its base terms."""

    model = PlanItem
    fields = (
        "code",
        "name",
        "kind",
        money("amount_minor", "amount", currency="plan_version.currency"),
        "percent",
        number("credits"),
        "timing",
        "periods",
        "counts",
    )
    ordering = ("position",)
    tab = False

    @admin.display(description="Kinds of lines")
    def counts(self, item: PlanItem) -> str:
        """Name the kinds of lines that a commit counts or a discount lowers."""
        return ", ".join(item.kinds) or "—"


@admin.register(PlanVersion)
class PlanVersionAdmin(ReadOnlyAdmin):
    """Immutable terms, sold once somebody else approved them."""

    list_display = (
        "__str__",
        money("fee_minor", "fee"),
        "interval",
        number("included_credits"),
        number("overage_price_unrounded", "overage per credit", unit="currency"),
        link("rate_card"),
        "status",
        "governs_from",
    )
    list_filter = ("currency", "policy_change__status")
    list_select_related = ("plan", "rate_card", "policy_change")
    search_fields = ("plan__code", "plan__name", "policy_change__subject")
    search_help_text = "Plan's code or name"
    inlines = (PlanItemInline,)
    fields = (
        link("plan"),
        "number",
        money("fee_minor", "fee"),
        "interval",
        number("included_credits"),
        number("overage_price_unrounded", "overage per credit", unit="currency"),
        link("rate_card"),
        "threshold",
        "grace_hours",
        "payment_days",
        link("customer", "terms of"),
        "status",
        "governs_from",
        link("policy_change"),
    )

    def interval(self, version: PlanVersion) -> str:
        """Show how often the fee recurs."""
        words = f"every {how_many(version.interval_count, version.interval_unit)}"
        return f"{words}, with the calendar" if version.anchor == Anchor.CALENDAR else words

    @admin.display(description="Overage invoiced at")
    def threshold(self, version: PlanVersion) -> str:
        """Show which unbilled amount is invoiced before a period ends."""
        if version.threshold_minor is None:
            return "the period's end"
        return money_text(version.threshold_minor, version.currency)

    def status(self, version: PlanVersion) -> str:
        """Show the decision on the version."""
        return badge_html(version.policy_change.status, POLICY_TONES[version.policy_change.status])

    @admin.display(description="Governs from")
    def governs_from(self, version: PlanVersion) -> str:
        """Show when the version starts to be sold."""
        return moment_html(version.policy_change.effective_at)


offer_list(PlanVersion, Subscription, lambda v: {"plan_version__id__exact": v.pk})
