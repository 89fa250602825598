"""Promises, and the plans by which fees become revenue."""

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge, link, moment, money
from billing_project.kernel.backoffice.related import offer_list
from credits.models import BillingPeriod, CreditGrant
from invoicing.models import InvoiceLine
from metering.models import Customer
from revrec.models import PerformanceObligation, Posting, RevenueSchedule, RevenueScheduleLine

_KINDS = {
    "fee": "info",
    "credits": "good",
    "overage": "wait",
    "arrears": "wait",
    "shortfall": "wait",
}


class ScheduleInline(ReadOnlyInline):
    """An obligation's schedules; the highest revision is the one that is followed."""

    model = RevenueSchedule
    fields = (
        "revision",
        money("price_minor", "price", currency="obligation.currency"),
        "start_on",
        "end_on",
        "created_at",
    )
    list_select_related = ("obligation",)
    ordering = ("-revision",)
    verbose_name_plural = "schedules"
    tab = False


class ScheduleLineInline(ReadOnlyInline):
    """What each service day earns."""

    model = RevenueScheduleLine
    fields = (
        "service_on",
        money("amount_minor", "amount", currency="schedule.obligation.currency"),
    )
    list_select_related = ("schedule__obligation",)
    ordering = ("service_on",)
    verbose_name_plural = "days"
    per_page = 31
    tab = False


@admin.register(PerformanceObligation)
class PerformanceObligationAdmin(ReadOnlyAdmin):
    """Promises: their price, and how much of it is recognised."""

    list_display = (
        "source_key",
        link("customer"),
        badge("kind", _KINDS),
        money("price_minor", "price"),
        money("recognised_minor", "recognised"),
        link("invoice_line"),
        link("grant"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "kind", "currency")
    list_select_related = ("customer", "invoice_line__invoice", "grant")
    search_fields = ("source_key", "customer__external_id", "invoice_line__invoice__number")
    search_help_text = "Source key, customer or invoice number"
    ordering = ("-id",)
    fields = (
        "source_key",
        link("customer"),
        badge("kind", _KINDS),
        money("price_minor", "price"),
        money("recognised_minor", "recognised"),
        link("invoice_line"),
        link("grant"),
        link("billing_period"),
    )
    inlines = (ScheduleInline,)


@admin.register(RevenueSchedule)
class RevenueScheduleAdmin(ReadOnlyAdmin):
    """Plans by which fees become revenue, day by day."""

    list_display = (
        "__str__",
        link("obligation"),
        link("obligation.customer", "customer"),
        "revision",
        money("price_minor", "price", currency="obligation.currency"),
        "start_on",
        "end_on",
        moment("created_at"),
    )
    list_select_related = ("obligation__customer",)
    search_fields = ("obligation__source_key", "obligation__customer__external_id")
    search_help_text = "Obligation's source key or customer"
    ordering = ("-id",)
    fields = (
        link("obligation"),
        "revision",
        money("price_minor", "price", currency="obligation.currency"),
        "start_on",
        "end_on",
        "created_at",
    )
    inlines = (ScheduleLineInline,)


offer_list(
    Customer,
    PerformanceObligation,
    lambda c: {"customer__id__exact": c.pk},
    title="Obligations",
    icon="handshake",
)
offer_list(
    InvoiceLine,
    PerformanceObligation,
    lambda line: {"invoice_line__id__exact": line.pk},
    title="Obligation",
)
offer_list(
    CreditGrant,
    PerformanceObligation,
    lambda grant: {"grant__id__exact": grant.pk},
    title="Obligation",
)
offer_list(
    BillingPeriod,
    PerformanceObligation,
    lambda period: {"billing_period__id__exact": period.pk},
    title="Obligations",
)
offer_list(
    PerformanceObligation,
    Posting,
    lambda obligation: {"obligation__id__exact": obligation.pk},
    icon="balance",
)
