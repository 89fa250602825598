"""Under what terms credits are given, and the rules that give them every period."""

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge, link, moment, number, pairs
from billing_project.kernel.backoffice.related import offer_list
from credits.admin.rates import VersionAdmin
from credits.models import ClawBack, CreditGrant, GrantTerms, RecurringGrant
from metering.models import Customer

CATEGORIES = {"paid": "good", "promotional": "info", "included": "", "goodwill": "wait"}


@admin.register(GrantTerms)
class GrantTermsAdmin(VersionAdmin):
    """Versions of the terms of a kind of grant."""

    list_display = (
        "__str__",
        badge("category", CATEGORIES),
        number("life_days", "life in days"),
        "priority",
        "rollover",
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("category", "policy_change__status")
    list_select_related = ("policy_change",)
    search_fields = ("code", "policy_change__subject")
    search_help_text = "Code of the terms"
    ordering = ("code", "-number")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("code", "number"),
                    (badge("category", CATEGORIES), "priority"),
                    ("status", "governs_from"),
                    link("policy_change"),
                )
            },
        ),
        ("Scope", {"fields": (("is_pooled", pairs("meter_codes", "meters")),)}),
        (
            "End",
            {
                "fields": (
                    (
                        number("life_days", "life in days"),
                        number("return_days", "life of returned credits in days"),
                    ),
                    ("rollover", number("rollover_value", "rolled over, fraction or most")),
                    "refund_rule",
                )
            },
        ),
    )


@admin.register(RecurringGrant)
class RecurringGrantAdmin(ReadOnlyAdmin):
    """Rules that give a customer the same credits every period."""

    list_display = (
        "__str__",
        link("customer"),
        number("amount", unit="pricing_unit.code"),
        "interval_count",
        "interval_unit",
        link("terms"),
        moment("start_at", "from"),
        moment("until_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "interval_unit")
    list_select_related = ("customer", "pricing_unit", "terms")
    search_fields = ("=id", "customer__external_id", "source_key", "reason_code")
    search_help_text = "Id, customer's external id, source key or reason code"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    (link("customer"), link("workspace")),
                    (number("amount", unit="pricing_unit.code"), link("terms")),
                    ("interval_count", "interval_unit"),
                    ("start_at", "until_at"),
                )
            },
        ),
        (
            "Origin",
            {"fields": (("reason_code", "source_key"), (link("created_by"), "created_at"))},
        ),
    )


@admin.register(ClawBack)
class ClawBackAdmin(ReadOnlyAdmin):
    """Reasons to take back what a purchase gave; the first of a purchase takes."""

    list_display = (
        "__str__",
        link("customer"),
        "purchase_key",
        number("credits", "taken back"),
        number("used", "used before"),
        link("follows"),
        moment("recorded_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "reason")
    list_select_related = ("customer", "follows")
    search_fields = ("=reference", "=purchase_key", "customer__external_id")
    search_help_text = "Reference, purchase or customer's external id"
    fields = (
        ("reason", "reference"),
        (link("customer"), "purchase_key"),
        (number("credits", "taken back"), number("used", "used before, stays used")),
        link("follows"),
        (link("recorded_by"), "recorded_at"),
    )


def _of_customer(customer: Customer) -> dict[str, object]:
    return {"customer__id__exact": customer.pk}


offer_list(Customer, RecurringGrant, _of_customer, icon="event_repeat")
offer_list(GrantTerms, CreditGrant, lambda terms: {"terms__id__exact": terms.pk})
offer_list(GrantTerms, RecurringGrant, lambda terms: {"terms__id__exact": terms.pk})
offer_list(RecurringGrant, CreditGrant, lambda rule: {"rule__id__exact": rule.pk})
offer_list(
    CreditGrant,
    ClawBack,
    lambda grant: {"purchase_key__exact": (grant.root or grant).source_key},
    icon="undo",
)
