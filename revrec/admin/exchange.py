"""Rates of exchange: drafted as policy changes, approved by finance, a sheet at a time."""

from typing import Any, ClassVar

from django.contrib import admin

from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge_html, link, number
from billing_project.kernel.backoffice.policies import POLICY_TONES
from revrec.models import ExchangeRate, ExchangeSheet


class ExchangeRateInline(ReadOnlyInline):
    """The rates of a sheet."""

    model = ExchangeRate
    fields = ("currency", "functional_currency", "from_on", number("value"))
    ordering = ("currency", "functional_currency", "from_on")
    tab = False
    per_page = 100


@admin.register(ExchangeSheet)
class ExchangeSheetAdmin(ReadOnlyAdmin):
    """What currencies are worth in those of the books; without a rate entries wait."""

    list_display = ("__str__", "source", "end_on", "status", link("policy_change"))
    list_filter = ("policy_change__status",)
    list_select_related = ("policy_change",)
    search_fields = ("source", "policy_change__subject")
    search_help_text = "Source or the policy change's subject"
    fields: ClassVar[tuple[Any, ...] | None] = (
        ("number", "status"),
        ("source", "end_on"),
        link("policy_change"),
    )
    inlines = (ExchangeRateInline,)

    @admin.display(description="Status")
    def status(self, sheet: ExchangeSheet) -> str:
        """Show the decision on the sheet."""
        return badge_html(sheet.policy_change.status, POLICY_TONES[sheet.policy_change.status])


@admin.register(ExchangeRate)
class ExchangeRateAdmin(ReadOnlyAdmin):
    """Each rate of each sheet; the latest approved sheet that names a day governs it."""

    list_display = (
        "__str__",
        "currency",
        "functional_currency",
        "from_on",
        number("value"),
        link("sheet"),
    )
    list_filter = ("currency", "functional_currency", "sheet__policy_change__status")
    list_select_related = ("sheet",)
    search_fields = ("currency",)
    search_help_text = "Currency"
    fields = (
        ("currency", "functional_currency"),
        ("from_on", number("value")),
        link("sheet"),
    )
