"""In which time zone the days of the books begin: drafted as a policy change."""

from typing import Any, ClassVar

from django.contrib import admin

from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge_html, link
from billing_project.kernel.backoffice.policies import POLICY_TONES
from revrec.models import BooksZone


@admin.register(BooksZone)
class BooksZoneAdmin(ReadOnlyAdmin):
    """Where midnight of the books is, for all legal entities; it stays once anything is posted."""

    list_display = ("__str__", "zone", "status", link("policy_change"))
    list_filter = ("policy_change__status",)
    list_select_related = ("policy_change",)
    search_fields = ("zone",)
    search_help_text = "The zone's name"
    fields: ClassVar[tuple[Any, ...] | None] = (
        ("number", "zone"),
        ("status", link("policy_change")),
    )

    @admin.display(description="Status")
    def status(self, chosen: BooksZone) -> str:
        """Show the decision on the choice."""
        return badge_html(chosen.policy_change.status, POLICY_TONES[chosen.policy_change.status])
