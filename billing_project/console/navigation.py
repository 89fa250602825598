"""The way around the back office: a sidebar by owner, and the one stylesheet."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

# App label, heading with its owner, whether it stands open.
_GROUPS = (
    ("metering", "Metering · engineering"),
    ("credits", "Credits · product"),
    ("invoicing", "Invoicing · finance and support"),
    ("revrec", "Revenue · finance"),
    ("kernel", "Access and approvals"),
    ("auth", "Roles"),
    ("django_q", "Worker"),
)
_ICONS = {
    "accountingperiod": "calendar_month",
    "apikey": "key",
    "auditentry": "history_edu",
    "billingperiod": "date_range",
    "creditgrant": "redeem",
    "creditnote": "assignment_return",
    "creditpolicy": "low_priority",
    "customer": "groups",
    "customeralias": "alternate_email",
    "eventbatch": "inbox",
    "eventrejection": "block",
    "group": "badge",
    "idempotencyrecord": "fingerprint",
    "invoice": "receipt",
    "invoiceline": "format_list_numbered",
    "journalentry": "menu_book",
    "ledgeraccount": "account_tree",
    "ledgertransaction": "swap_vert",
    "meter": "speed",
    "meterevent": "bolt",
    "metereventadjustment": "tune",
    "numberseries": "pin",
    "outboxmessage": "outbox",
    "payment": "payments",
    "performanceobligation": "handshake",
    "plan": "inventory_2",
    "planversion": "layers",
    "policychange": "gavel",
    "posting": "balance",
    "pricingunit": "toll",
    "quarantinedevent": "report",
    "ratecard": "sell",
    "ratecardversion": "price_change",
    "ratedusage": "calculate",
    "revenueschedule": "timeline",
    "subscription": "autorenew",
    "usagewindow": "schedule",
    "user": "person",
    "workspace": "workspaces",
}


def stylesheet(request: HttpRequest) -> str:
    """Return the address of the console's stylesheet."""
    return static("console/console.css")


def environment(request: HttpRequest) -> list[str] | None:
    """Mark what is not production: a clock that can be set, or debugging."""
    if settings.BILLING_CLOCK:
        return ["Set clock", "warning"]
    return ["Development", "info"] if settings.DEBUG else None


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """List the pages that the person may see, grouped by who answers for them."""
    groups = [_group(request, label, title) for label, title in _GROUPS]
    return [_pages(), *(group for group in groups if group["items"])]


def lineage_url(kind: str, name: object) -> str:
    """Return the address of a fact's lineage; kinds as the trace names them."""
    return f"{reverse('console:lineage')}?{urlencode({kind: name})}"


def _pages() -> dict[str, Any]:
    return {
        "items": [
            {"title": "Home", "icon": "home", "link": reverse("admin:index")},
            {"title": "Lineage", "icon": "account_tree", "link": reverse("console:lineage")},
            {"title": "Books", "icon": "fact_check", "link": reverse("console:books")},
        ]
    }


def _group(request: HttpRequest, label: str, title: str) -> dict[str, Any]:
    models = [
        model
        for model, page in admin.site._registry.items()
        if model._meta.app_label == label and page.has_module_permission(request)
        if page.has_view_permission(request)
    ]
    return {
        "title": title,
        "separator": True,
        "collapsible": True,
        "items": [_item(model) for model in models],
    }


def _item(model: type[Model]) -> dict[str, Any]:
    opts = model._meta
    name = str(opts.verbose_name_plural)
    return {
        "title": name[:1].upper() + name[1:],
        "icon": _ICONS.get(str(opts.model_name), "table_rows"),
        "link": reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"),
    }
