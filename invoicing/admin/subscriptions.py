"""Who bought what, and what was changed about it since."""

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge, link, moment
from billing_project.kernel.backoffice.related import offer_list
from invoicing.models import Invoice, Subscription, SubscriptionChange
from metering.models import Customer

_KINDS = {"plan": "info", "trial": "wait", "pause": "wait", "resume": "good", "cancel": "bad"}


class ChangeInline(ReadOnlyInline):
    """What was changed, the newest first."""

    model = SubscriptionChange
    fields = (
        badge("kind", _KINDS),
        link("plan_version", "to plan"),
        "effective_at",
        "reason",
        link("created_by", "by"),
        "undone_at",
    )
    list_select_related = ("plan_version__plan", "created_by")
    ordering = ("-effective_at", "-id")
    verbose_name_plural = "changes"
    tab = False


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """Who bought what from when."""

    list_display = (
        "__str__",
        link("customer"),
        link("plan_version", "sold as"),
        moment("start_at"),
        moment("ends_at"),
        link("created_by"),
    )
    list_filter = (
        ("customer", AutocompleteSelectFilter),
        ("ends_at", admin.EmptyFieldListFilter),
    )
    list_select_related = ("customer", "plan_version__plan", "created_by")
    search_fields = ("=id", "customer__external_id", "customer__name", "plan_version__plan__code")
    search_help_text = "Id, customer or plan"
    fields = (
        link("customer"),
        link("plan_version", "sold as"),
        "start_at",
        "ends_at",
        link("created_by"),
        "created_at",
    )
    inlines = (ChangeInline,)


@admin.register(SubscriptionChange)
class SubscriptionChangeAdmin(ReadOnlyAdmin):
    """Changes of plan and standing, and ends: what holds from when."""

    list_display = (
        "__str__",
        link("subscription.customer", "customer"),
        badge("kind", _KINDS),
        link("plan_version", "to plan"),
        moment("effective_at"),
        link("created_by", "by"),
        moment("undone_at"),
    )
    list_filter = ("kind", ("undone_at", admin.EmptyFieldListFilter))
    list_select_related = ("subscription__customer", "plan_version__plan", "created_by")
    search_fields = ("=subscription__id", "subscription__customer__external_id", "source_key")
    search_help_text = "Subscription's id, customer or idempotency key"
    fields = (
        link("subscription"),
        badge("kind", _KINDS),
        link("plan_version", "to plan"),
        "effective_at",
        "credits_unused",
        "reason",
        (link("created_by", "by"), "created_at"),
        ("undone_at", link("undone_by"), "undo_reason"),
        "source_key",
    )


offer_list(Customer, Subscription, lambda c: {"customer__id__exact": c.pk}, icon="autorenew")
offer_list(Subscription, Invoice, lambda s: {"subscription__id__exact": s.pk}, icon="receipt")
