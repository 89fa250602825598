"""Which exemptions the notes to the statements use: drafted as policy changes."""

from typing import Any, ClassVar

from django.contrib import admin

from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge_html, link, moment_html
from billing_project.kernel.backoffice.policies import POLICY_TONES
from revrec.models import DisclosurePolicy


@admin.register(DisclosurePolicy)
class DisclosurePolicyAdmin(ReadOnlyAdmin):
    """What the report of remaining performance obligations leaves out, and by which standard."""

    list_display = (
        "__str__",
        "framework",
        "exempts_short",
        "exempts_as_invoiced",
        "exempts_usage",
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("framework", "policy_change__status")
    list_select_related = ("policy_change",)
    search_fields = ("policy_change__subject",)
    search_help_text = "The policy change's subject"
    fields: ClassVar[tuple[Any, ...] | None] = (
        ("number", "framework"),
        ("exempts_short", "exempts_as_invoiced", "exempts_usage"),
        ("status", "governs_from", link("policy_change")),
    )

    @admin.display(description="Status")
    def status(self, policy: DisclosurePolicy) -> str:
        """Show the decision on the version."""
        return badge_html(policy.policy_change.status, POLICY_TONES[policy.policy_change.status])

    @admin.display(description="In force from")
    def governs_from(self, policy: DisclosurePolicy) -> str:
        """Show since when the version counts."""
        return moment_html(policy.policy_change.effective_at)
