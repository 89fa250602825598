"""How fees are recognised, losses treated and balances shown: drafted as policy changes."""

from typing import Any, ClassVar

from django.contrib import admin

from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge_html, link, moment_html
from billing_project.kernel.backoffice.policies import POLICY_TONES
from revrec.models import RecognitionPolicy


@admin.register(RecognitionPolicy)
class RecognitionPolicyAdmin(ReadOnlyAdmin):
    """Whether fees earn by day or month, what losses are, and when what is not paid is shown."""

    list_display = (
        "__str__",
        "granularity",
        "presentation",
        "dispute_loss",
        "bad_debt",
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("granularity", "policy_change__status")
    list_select_related = ("policy_change",)
    search_fields = ("policy_change__subject",)
    search_help_text = "The policy change's subject"
    fields: ClassVar[tuple[Any, ...] | None] = (
        ("number", "granularity", "presentation"),
        ("dispute_loss", "bad_debt"),
        ("status", "governs_from", link("policy_change")),
    )

    @admin.display(description="Status")
    def status(self, policy: RecognitionPolicy) -> str:
        """Show the decision on the version."""
        return badge_html(policy.policy_change.status, POLICY_TONES[policy.policy_change.status])

    @admin.display(description="In force from")
    def governs_from(self, policy: RecognitionPolicy) -> str:
        """Show since when the version counts."""
        return moment_html(policy.policy_change.effective_at)
