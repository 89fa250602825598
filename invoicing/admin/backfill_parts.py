"""What backfills consist of: uploaded events, lines with faults, proposals."""

from django.contrib import admin
from django.template.loader import render_to_string

from billing_project.kernel.backoffice.base import (
    LargeTableAdmin,
    ReadOnlyAdmin,
    ReadOnlyInline,
)
from billing_project.kernel.backoffice.display import (
    badge,
    link,
    moment,
    moment_text,
    object_url,
    pairs,
    progress_html,
)
from billing_project.kernel.backoffice.related import Link, offer
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.quantity import how_many
from invoicing.admin.backfill_effect import shown_effect
from metering.models import (
    BackfillError,
    BackfillEvent,
    BackfillProposal,
    BackfillRun,
    BackfillWork,
)

_RUN_STATES = {"waiting": "wait", "running": "info", "finished": "good", "failed": "bad"}
_KINDS = {"upload": "", "preview": "", "submit": "", "apply": "", "revert": ""}


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


class RunInline(ReadOnlyInline):
    """What the worker was asked to do, and how far it is."""

    model = BackfillRun
    fields = (
        badge("kind", _KINDS),
        badge("state", _RUN_STATES),
        "progress",
        "said",
        link("requested_by", "by"),
        moment("requested_at"),
        moment("finished_at"),
    )
    list_select_related = ("requested_by",)
    ordering = ("-id",)
    verbose_name_plural = "work"

    @admin.display(description="Progress")
    def progress(self, run: BackfillRun) -> str:
        """Draw how much is done."""
        return progress_html(run.percent)

    @admin.display(description="Says")
    def said(self, run: BackfillRun) -> str:
        """Tell what it does, did, or why it stopped."""
        return run_words(run)


def run_words(run: BackfillRun) -> str:
    """Say what a run does, what it did, or why it stopped."""
    if run.fault:
        again = f" It is tried again from {moment_text(run.not_before)}." if run.not_before else ""
        return f"{run.fault}.{again}"
    if run.kind == BackfillWork.UPLOAD:
        return (
            f"{run.name}: {how_many(run.accepted_count, 'event')} taken in,"
            f" {run.repeated_count:,} repeated, {how_many(run.refused_count, 'line')} with faults."
        )
    if run.finished_at is not None:
        return "done; the button Preview shows it." if run.effect is not None else "done."
    if run.step and run.total_count:
        return f"{run.step}: {run.done_count:,} of {run.total_count:,} events".capitalize()
    return run.step.capitalize()


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


def _backfill_of(change: PolicyChange) -> Link | None:
    if change.kind != "backfill":
        return None
    row = BackfillProposal.objects.select_related("backfill").get(policy_change=change)
    return Link(str(row.backfill), object_url(row.backfill), "history")


offer(PolicyChange, _backfill_of)
