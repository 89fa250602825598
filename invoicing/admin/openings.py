"""What new customers of ours brought along: each file, and what became of its items."""

from django.contrib import admin

from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge, document, link, moment
from invoicing.models import OpeningImport, OpeningItem

_IMPORTS = {"open": "wait", "applied": "good", "closed": ""}
_ITEMS = {"waiting": "wait", "done": "good", "failed": "bad", "closed": ""}


@admin.register(OpeningImport)
class OpeningImportAdmin(ReadOnlyAdmin):
    """Files of opening balances; brought in by `manage.py import_openings`, approved as changes."""

    list_display = (
        "__str__",
        "source",
        badge("state", _IMPORTS),
        link("policy_change"),
        moment("closed_at", "settled"),
    )
    list_filter = ("source", "state")
    list_select_related = ("policy_change",)
    search_fields = ("name", "content_sha256")
    search_help_text = "File or its sha256"
    fields = (
        ("source", "name"),
        badge("state", _IMPORTS),
        link("policy_change"),
        "content_sha256",
        "closed_at",
    )


@admin.register(OpeningItem)
class OpeningItemAdmin(LargeTableAdmin):
    """One thing that a file says, and what became of it."""

    list_display = (
        "__str__",
        "customer",
        "line",
        badge("state", _ITEMS),
        "detail",
        "made",
        link("opening_import"),
    )
    list_filter = ("kind", "state")
    list_select_related = ("opening_import",)
    search_fields = ("=customer", "=source_id")
    search_help_text = "Customer, or the source's own id"
    fields = (
        ("kind", "source_id"),
        ("customer", "line"),
        document("content"),
        badge("state", _ITEMS),
        "detail",
        "made",
        "done_at",
        link("opening_import"),
    )
