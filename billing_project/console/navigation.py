"""The way around the back office: a sidebar by owner, and the one stylesheet."""

from functools import cache
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

# Heading with its owner, apps, and whether it lists the parts of other pages.
_GROUPS = (
    ("Metering · engineering", ("metering",), False),
    ("Metering · parts and logs", ("metering",), True),
    ("Credits · product", ("credits",), False),
    ("Invoicing · finance and support", ("invoicing",), False),
    ("Revenue · finance", ("revrec",), False),
    ("Access and approvals", ("kernel", "auth"), False),
    ("Worker", ("django_q",), False),
)
# Tables that people come to from the page of what they are part of, and seldom by themselves.
_PARTS = {
    "quarantinedevent",
    "quarantinerun",
    "quarantineassignment",
    "backfillevent",
    "backfillerror",
    "backfillproposal",
    "meterversion",
    "usagelevel",
    "invoicedusage",
    "eventbatch",
    "eventrejection",
    "windowrepairitem",
    "appliedrepair",
    "importedline",
}
# Pages that stand above an app's tables: title, icon, name of the address.
_ABOVE = {
    "credits": (
        ("Burn table", "local_fire_department", "console:burn_table"),
        ("Scenarios", "science", "console:scenarios"),
        ("Unrated usage", "money_off", "console:unrated"),
    ),
    "invoicing": (
        ("Completeness", "done_all", "console:completeness"),
        ("Opening balances", "move_to_inbox", "console:openings"),
    ),
    "revrec": (("Reports", "bar_chart", "console:reports"),),
    "kernel": (("Owners of the steps", "assignment_ind", "console:owners"),),
}
# In the order of the sidebar; what is not named comes last.
_ICONS = {
    "customer": "groups",
    "workspace": "workspaces",
    "customeralias": "alternate_email",
    "meterevent": "bolt",
    "quarantinegroup": "rule_folder",
    "quarantinedevent": "report",
    "quarantinerun": "playlist_play",
    "quarantineassignment": "assignment_ind",
    "metereventadjustment": "tune",
    "usagewindow": "schedule",
    "meter": "speed",
    "lagepisode": "hourglass_top",
    "backfill": "history",
    "backfillevent": "playlist_add",
    "backfillerror": "error",
    "backfillproposal": "approval",
    "meterversion": "history",
    "usagelevel": "stacked_line_chart",
    "lateeventpolicy": "schedule_send",
    "invoicedusage": "event_available",
    "eventbatch": "inbox",
    "eventrejection": "block",
    "importrun": "upload_file",
    "windowrepair": "build",
    "windowrepairitem": "rule",
    "appliedrepair": "task_alt",
    "archivedmonth": "inventory",
    "importedline": "rule",
    "creditgrant": "redeem",
    "ledgertransaction": "swap_vert",
    "recurringgrant": "event_repeat",
    "grantterms": "contract",
    "clawback": "undo",
    "ratedusage": "calculate",
    "billingperiod": "date_range",
    "ratecard": "sell",
    "ratecardversion": "price_change",
    "rate": "price_check",
    "creditpolicy": "low_priority",
    "pricingunit": "toll",
    "spendlimit": "speed",
    "controlpolicy": "traffic",
    "modelexception": "vpn_key",
    "authorization": "verified",
    "hold": "lock_clock",
    "alert": "warning",
    "alertrule": "add_alert",
    "anomaly": "monitor_heart",
    "plannedactivity": "event_upcoming",
    "incident": "crisis_alert",
    "incidentevidence": "folder_zip",
    "controlcheckpoint": "fact_check",
    "supplierrate": "local_shipping",
    "suppliersheet": "request_quote",
    "supplierbill": "receipt",
    "supplierbillline": "difference",
    "unratedepisode": "notification_important",
    "invoice": "receipt",
    "creditnote": "assignment_return",
    "proposedcreditnote": "rule",
    "creditnotevoid": "block",
    "creditnotedocument": "picture_as_pdf",
    "coupon": "local_offer",
    "couponredemption": "confirmation_number",
    "outcome": "task_alt",
    "outcomedecision": "how_to_vote",
    "seatchange": "event_seat",
    "invoicevoid": "block",
    "writeoff": "money_off",
    "payment": "payments",
    "shortpayment": "payments",
    "paymenttolerance": "tune",
    "refund": "currency_exchange",
    "refundfailure": "undo",
    "dispute": "gavel",
    "disputeoutcome": "verified",
    "overpayment": "add_card",
    "processorfee": "percent",
    "paymentattempt": "credit_card",
    "stripecustomer": "contact_page",
    "stripedifference": "compare_arrows",
    "stripecall": "outgoing_mail",
    "stripeevent": "webhook",
    "parkedevent": "pending_actions",
    "mirroredusage": "screen_share",
    "stripemeter": "speed",
    "openingimport": "move_to_inbox",
    "openingitem": "rule",
    "customerbalance": "account_balance_wallet",
    "balanceapplication": "price_check",
    "subscription": "autorenew",
    "subscriptionchange": "edit_calendar",
    "autorecharge": "bolt",
    "recharge": "shopping_cart",
    "plan": "inventory_2",
    "planversion": "layers",
    "invoicedocument": "picture_as_pdf",
    "invoicemail": "outgoing_mail",
    "hostedlink": "link",
    "invoiceline": "format_list_numbered",
    "lineusage": "link",
    "billinghold": "pause_circle",
    "invoicepolicy": "policy",
    "legalentity": "domain",
    "legalentityversion": "history_edu",
    "customerentity": "link",
    "customeraddress": "home_pin",
    "invoicesplit": "call_split",
    "marketgate": "public",
    "taxrate": "percent",
    "customertaxid": "badge",
    "numberseries": "pin",
    "journalentry": "menu_book",
    "posting": "balance",
    "accountingperiod": "calendar_month",
    "closeexception": "draw",
    "ledgerseal": "verified_user",
    "ledgeraccount": "account_tree",
    "breakageestimate": "hourglass_bottom",
    "exchangesheet": "currency_exchange",
    "exchangerate": "percent",
    "grantbasis": "redeem",
    "contractallocation": "join",
    "contractmodification": "edit_document",
    "lossestimate": "trending_down",
    "disclosurepolicy": "fact_check",
    "recognitionpolicy": "calendar_view_month",
    "bookszone": "public",
    "variableestimate": "query_stats",
    "accountmap": "swap_horiz",
    "journalexport": "ios_share",
    "auditpack": "folder_zip",
    "performanceobligation": "handshake",
    "revenueschedule": "timeline",
    "entrysource": "link",
    "policychange": "gavel",
    "stepowner": "supervisor_account",
    "auditentry": "history_edu",
    "user": "person",
    "group": "badge",
    "signinattempt": "login",
    "signedindevice": "devices",
    "secondfactor": "phonelink_lock",
    "apikey": "key",
    "webhookendpoint": "webhook",
    "webhookdelivery": "send",
    "webhookevent": "campaign",
    "idempotencyrecord": "fingerprint",
    "outboxmessage": "outbox",
    "schedule": "event_repeat",
    "success": "check_circle",
    "failure": "error",
}
_NAMES = {
    "apikey": "API keys",
    "group": "Roles",
    "lineusage": "Usage behind lines",
    "stepowner": "History of owners",
}


def stylesheet(request: HttpRequest) -> str:
    """Return the address of the console's stylesheet."""
    return static("console/console.css")


def icons_script(request: HttpRequest) -> str:
    """Return the address of the script that keeps icons from being read aloud."""
    return static("console/icons.js")


def reach_script(request: HttpRequest) -> str:
    """Return the address of the script that lets the keyboard reach what scrolls."""
    return static("console/reach.js")


def favicon(request: HttpRequest) -> str:
    """Return the address of the console's icon."""
    return static("console/favicon.svg")


def environment(request: HttpRequest) -> list[str] | None:
    """Mark what is not production: a clock that can be set, or debugging."""
    if settings.BILLING_CLOCK:
        return ["Set clock", "warning"]
    return ["Development", "info"] if settings.DEBUG else None


def account_links(request: HttpRequest) -> list[dict[str, Any]]:
    """List what stands under the person's name."""
    return [
        {"title": "Your log-in", "link": reverse("console:own_sign_in")},
        {"title": "Change password", "link": reverse("admin:password_change")},
    ]


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """List the pages that the person may see, grouped by who answers for them."""
    groups = [_group(request, *group) for group in _GROUPS]
    across = [_pages()] if may_read(request) else []
    return [*across, *(group for group in groups if group["items"])]


def may_read(request: HttpRequest) -> bool:
    """Tell whether the person may read across all apps, as every role may."""
    return bool(request.user.has_perm("revrec.view_journalentry"))


def lineage_url(kind: str, name: object) -> str:
    """Return the address of a fact's lineage; kinds as the trace names them."""
    return f"{reverse('console:lineage')}?{urlencode({kind: name})}"


def _pages() -> dict[str, Any]:
    return {
        "items": [
            {"title": "Home", "icon": "home", "link": reverse("admin:index")},
            {"title": "Approvals", "icon": "inbox", "link": reverse("console:approvals")},
            {"title": "Exceptions", "icon": "report", "link": reverse("console:exceptions")},
            {"title": "Lineage", "icon": "account_tree", "link": reverse("console:lineage")},
            {"title": "Why not billed?", "icon": "help", "link": reverse("console:why")},
            {"title": "Usage", "icon": "bar_chart", "link": reverse("console:usage")},
            {
                "title": "Near duplicates",
                "icon": "content_copy",
                "link": reverse("console:near_duplicates"),
            },
            {"title": "Policies in force", "icon": "policy", "link": reverse("console:policies")},
            {"title": "Books", "icon": "fact_check", "link": reverse("console:books")},
        ]
    }


def _group(
    request: HttpRequest, title: str, labels: tuple[str, ...], are_parts: bool
) -> dict[str, Any]:
    above = [page for label in labels if not are_parts for page in _ABOVE.get(label, ())]
    return {
        "title": title,
        "separator": True,
        "collapsible": True,
        "items": [
            *(_page(*page) for page in above if may_read(request)),
            *(
                _item(model)
                for model in _models(labels, are_parts)
                if admin.site.get_model_admin(model).has_view_permission(request)
            ),
        ],
    }


@cache
def _models(labels: tuple[str, ...], are_parts: bool) -> list[type[Model]]:
    """List a group's tables with a page; which they are is settled when the process has begun."""
    models = [
        model
        for model in admin.site._registry
        if model._meta.app_label in labels and (model._meta.model_name in _PARTS) == are_parts
    ]
    return sorted(models, key=_place)


def _page(title: str, icon: str, name: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse(name)}


def _place(model: type[Model]) -> int:
    order = list(_ICONS)
    name = str(model._meta.model_name)
    return order.index(name) if name in order else len(order)


@cache
def _item(model: type[Model]) -> dict[str, Any]:
    opts = model._meta
    name = _NAMES.get(str(opts.model_name), str(opts.verbose_name_plural))
    return {
        "title": name[:1].upper() + name[1:],
        "icon": _ICONS.get(str(opts.model_name), "table_rows"),
        "link": reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"),
    }
