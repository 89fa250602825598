"""What backfills consist of: uploaded events, lines with faults, proposals."""

from django.contrib import admin
from django.template.loader import render_to_string

from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin
from billing_project.kernel.backoffice.display import link, moment, pairs
from invoicing.admin.backfill_effect import shown_effect
from metering.models import BackfillError, BackfillEvent, BackfillProposal


@admin.register(BackfillEvent)
class BackfillEventAdmin(LargeTableAdmin):
    """Uploaded events."""

    list_display = (
        "identifier",
        link("backfill"),
        "line",
        "event_name",
        link("workspace"),
        moment("timestamp"),
    )
    list_select_related = ("backfill", "workspace")
    search_fields = ("identifier",)
    search_help_text = "Identifier, exactly"
    fields = (
        link("backfill"),
        "line",
        "identifier",
        "event_name",
        link("workspace"),
        moment("timestamp"),
        pairs("properties"),
    )


@admin.register(BackfillError)
class BackfillErrorAdmin(LargeTableAdmin):
    """Uploaded lines that cannot be events of their backfill, and why."""

    list_display = ("line", link("backfill"), "identifier", "code", "detail")
    list_select_related = ("backfill",)
    search_fields = ("identifier",)
    search_help_text = "Identifier, exactly"
    fields = (link("backfill"), "line", "identifier", "code", "detail")


@admin.register(BackfillProposal)
class BackfillProposalAdmin(ReadOnlyAdmin):
    """Previewed states of a range, as they were put before an approver."""

    list_display = (
        "__str__",
        link("backfill.customer", "customer"),
        link("policy_change"),
        link("policy_change", "status", text="policy_change.status"),
    )
    list_select_related = ("backfill__customer", "policy_change")
    search_fields = ("policy_change__subject", "state_sha256")
    search_help_text = "The policy change's subject, or the sha256 of the state"
    fields = (
        link("backfill"),
        "number",
        link("policy_change"),
        "state_sha256",
        "upload_sha256",
        "effect_shown",
    )

    @admin.display(description="Effect")
    def effect_shown(self, proposal: BackfillProposal) -> str:
        """Show the counts, money and quantities."""
        return render_to_string("backoffice/backfill_effect.html", shown_effect(proposal.effect))
