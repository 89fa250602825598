"""What credits that were given stand at in the books: drafted as policy changes."""

from typing import Any, ClassVar

from django.contrib import admin

from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge_html, link, money, number
from billing_project.kernel.backoffice.policies import POLICY_TONES
from revrec.models import GrantBasis


@admin.register(GrantBasis)
class GrantBasisAdmin(ReadOnlyAdmin):
    """Concessions made in credits, and bonuses that share the price of their purchase."""

    list_display = (
        "__str__",
        link("grant"),
        "cause",
        money("price_minor", "basis"),
        link("purchase"),
        "status",
        link("policy_change"),
    )
    list_filter = ("cause", "currency", "policy_change__status")
    list_select_related = ("policy_change", "grant", "purchase")
    search_fields = ("policy_change__subject",)
    search_help_text = "The policy change's subject"
    fields: ClassVar[tuple[Any, ...] | None] = (
        link("grant"),
        ("cause", money("price_minor", "basis")),
        link("purchase"),
        (number("ssp"), number("likelihood")),
        (number("purchase_ssp"), number("purchase_likelihood")),
        "evidence",
        ("status", link("policy_change")),
    )

    @admin.display(description="Status")
    def status(self, basis: GrantBasis) -> str:
        """Show the decision on it."""
        return badge_html(basis.policy_change.status, POLICY_TONES[basis.policy_change.status])
