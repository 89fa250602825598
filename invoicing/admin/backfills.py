"""Backfills of usage: upload, preview in quantity and money, submit, apply, revert."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.loader import render_to_string
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import UnfoldAdminFileFieldWidget

from billing_project.kernel.backoffice.actions import form_action, page_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import (
    badge,
    link,
    moment,
    moment_html,
    pairs,
    progress_html,
)
from billing_project.kernel.backoffice.forms import ActionForm, ReasonForm
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.quantity import how_many
from invoicing.admin.backfill_effect import shown_effect
from invoicing.admin.backfill_parts import RunInline, run_words
from invoicing.admin.backfill_preview import REFRESH_SECONDS, preview_page
from invoicing.services.backfill_work import ring_worker
from metering.models import (
    Backfill,
    BackfillBatch,
    BackfillError,
    BackfillEvent,
    BackfillProposal,
    BackfillState,
    BackfillWork,
    Customer,
    MeterEventAdjustment,
)
from metering.selectors.backfills import (
    counts_of,
    error_file,
    newest_proposal,
)
from metering.services.backfill_runs import open_run, refuse_worked_on, start_upload, start_work
from metering.services.backfills import discard_backfill

_MAY = "metering.make_backfill"
_STATES = {"open": "info", "submitted": "wait", "applied": "good", "reverted": "", "discarded": ""}


def _is(*states: BackfillState) -> Callable[[Backfill], bool]:
    return lambda backfill: backfill.state in states


_is_open = _is(BackfillState.OPEN)
_is_unapplied = _is(BackfillState.OPEN, BackfillState.SUBMITTED)
_is_submitted = _is(BackfillState.SUBMITTED)
_is_applied = _is(BackfillState.APPLIED)


def _busy(user: User, backfill: Backfill) -> str:
    """Say that the worker is at it, or return ""."""
    run = open_run(backfill)
    return f"The {run} is not finished; its progress stands on the page." if run else ""


def _undecided(user: User, backfill: Backfill) -> str:
    """Say why a backfill is not applied yet, or return ""."""
    if busy := _busy(user, backfill):
        return busy
    proposal = newest_proposal(backfill)
    if proposal is None:
        return "It was not submitted yet."
    status = proposal.policy_change.status
    if status == PolicyStatus.APPROVED:
        return ""
    return f"The decision on it is: {status}. A finance approver decides on the policy change."


class BackfillForm(ActionForm):
    """The base of forms about one backfill."""

    subject: Backfill

    def facts(self) -> list[tuple[str, Any]]:
        """List the range and what was uploaded."""
        counts = counts_of(self.subject)
        return [
            ("Customer", self.subject.customer.name),
            ("From", moment_html(self.subject.start_at)),
            ("To", moment_html(self.subject.end_at)),
            ("Events uploaded", f"{counts.line_count:,}"),
            ("Lines with faults", f"{counts.error_count:,}"),
        ]


class BackfillReasonForm(ReasonForm, BackfillForm):
    """A backfill, and a reason."""


class UploadForm(BackfillForm):
    """A file of events."""

    file = forms.FileField(
        label="File",
        help_text="CSV or JSONL, also compressed (.gz). A CSV has the columns event_name,"
        " identifier, customer, timestamp, and optionally workspace; every other column is a"
        " property.",
        widget=UnfoldAdminFileFieldWidget,
    )


class ProposalInline(ReadOnlyInline):
    """What was put before a finance approver."""

    model = BackfillProposal
    fields = (
        "number",
        link("policy_change", "decision"),
        link("policy_change", "status", text="policy_change.status"),
    )
    list_select_related = ("policy_change",)
    ordering = ("-number",)
    verbose_name_plural = "proposals"


class BatchInline(ReadOnlyInline):
    """Events that it added."""

    model = BackfillBatch
    fields = (link("batch"), "events")
    list_select_related = ("batch",)
    verbose_name_plural = "added events"

    @admin.display(description="Events")
    def events(self, row: BackfillBatch) -> str:
        """Count the batch's events."""
        return f"{row.batch.event_count:,}"


@admin.register(Backfill)
class BackfillAdmin(ReadOnlyAdmin):
    """Time ranges of customers' events that were replaced as one; no row is ever deleted."""

    list_display = (
        "__str__",
        link("customer"),
        moment("start_at", "from"),
        moment("end_at", "to"),
        badge("state", _STATES),
        "reason",
        link("created_by"),
        moment("created_at"),
    )
    list_filter = ("state", ("customer", AutocompleteSelectFilter))
    list_select_related = ("customer", "created_by")
    search_fields = ("customer__external_id", "reason")
    search_help_text = "Customer's external id, or words of the reason"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    (link("customer"), badge("state", _STATES)),
                    (moment("start_at", "from"), moment("end_at", "to")),
                    pairs("event_names"),
                    "reason",
                    "uploaded",
                    "done",
                    "work",
                    "next_step",
                )
            },
        ),
        ("Effect, as it was submitted", {"fields": ("effect",)}),
        (
            "Who",
            {
                "fields": (
                    (link("created_by"), "created_at"),
                    (link("applied_by"), "applied_at"),
                    (link("reverted_by"), "reverted_at"),
                )
            },
        ),
    )
    inlines = (RunInline, ProposalInline, BatchInline)
    actions_detail = ("upload_lines", "preview", "submit", "apply", "revert", "discard", "errors")

    def note(self) -> str:
        """Say where one begins."""
        return "A backfill begins on its customer's page, by the button Backfill usage."

    @admin.display(description="Uploaded")
    def uploaded(self, backfill: Backfill) -> str:
        """Count the lines."""
        counts = counts_of(backfill)
        faults = how_many(counts.error_count, "line")
        return f"{how_many(counts.line_count, 'event')}, {faults} with faults"

    @admin.display(description="Done")
    def done(self, backfill: Backfill) -> str:
        """Count what was added and corrected so far."""
        counts = counts_of(backfill)
        adjustments = how_many(counts.adjustment_count, "adjustment")
        return f"{how_many(counts.added_count, 'event')} added, {adjustments} made"

    @admin.display(description="Work")
    def work(self, backfill: Backfill) -> str:
        """Draw how far the worker is with what was asked for last."""
        run = backfill.runs.first()
        if run is None:
            return ""
        return format_html("{} {}: {}", progress_html(run.percent), run.kind, run_words(run))

    @admin.display(description="Next step")
    def next_step(self, backfill: Backfill) -> str:
        """Say who has to do what."""
        if (run := open_run(backfill)) is not None:
            return f"Wait for the {run.kind}; this page comes again by itself."
        if _is_open(backfill) and counts_of(backfill).error_count:
            return "Download the faults, discard this, and upload a mended file to a new one."
        if _is_open(backfill):
            return "Upload all events of the range, look at the preview, and submit it."
        if _is_submitted(backfill):
            return _undecided_words(backfill)
        if _is_applied(backfill):
            return "Nothing; it can be reverted as a whole."
        return "Nothing."

    @admin.display(description="Effect")
    def effect(self, backfill: Backfill) -> str:
        """Show the counts, money and quantities of the newest proposal."""
        proposal = newest_proposal(backfill)
        if proposal is None:
            return "Not submitted yet: see the preview."
        return render_to_string("backoffice/backfill_effect.html", shown_effect(proposal.effect))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a backfill; while the worker is at it, the page comes again by itself."""
        response = super().change_view(request, object_id, form_url, extra_context)
        backfill = self.get_object(request, unquote(object_id))
        if backfill is not None and open_run(backfill) and response.status_code == 200:
            response["Refresh"] = str(REFRESH_SECONDS)
        return response

    @form_action(
        "Upload events",
        permission=_MAY,
        form=UploadForm,
        icon="upload_file",
        offered=_is_open,
        refusal=_busy,
        explanation="The upload says all that happened in the range: stored events that it does"
        " not name will be cancelled. Nothing is changed before somebody else approved it.",
    )
    def upload_lines(self, by: User, backfill: Backfill, form: UploadForm) -> str:
        """Take a file in."""
        start_upload(backfill=backfill, upload=form.cleaned_data["file"], by=by, at=now())
        return _asked("The file was uploaded; its lines are taken in now.")

    @page_action("Preview", icon="preview")
    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what it would change; a large range is asked of the worker by a button."""
        backfill = self._seen(request, object_id)
        if not isinstance(request.user, User) or not request.user.has_perm(_MAY):
            raise PermissionDenied
        return preview_page(self, request, backfill, request.user)

    @form_action(
        "Submit for approval",
        permission=_MAY,
        form=BackfillForm,
        icon="send",
        offered=_is_unapplied,
        refusal=_busy,
        explanation="Previews the range as it is now and puts that before a finance approver. If"
        " the range changes before it is applied, the approval is void.",
    )
    def submit(self, by: User, backfill: Backfill, form: BackfillForm) -> str:
        """Propose it."""
        start_work(backfill=backfill, kind=BackfillWork.SUBMIT, by=by, at=now())
        return _asked("It is previewed and submitted now.")

    @form_action(
        "Apply",
        permission=_MAY,
        form=BackfillForm,
        icon="play_arrow",
        offered=_is_submitted,
        refusal=_undecided,
        explanation="All of it takes effect at once. Credits follow at once; what was invoiced too"
        " much becomes a proposed credit note, what is missing goes to a further invoice.",
    )
    def apply(self, by: User, backfill: Backfill, form: BackfillForm) -> str:
        """Let the range be what was uploaded."""
        run = start_work(backfill=backfill, kind=BackfillWork.APPLY, by=by, at=now())
        return _asked("It is applied now.") if run else f"{backfill} is applied already."

    @form_action(
        "Revert",
        permission=_MAY,
        form=BackfillReasonForm,
        icon="undo",
        offered=_is_applied,
        refusal=_busy,
        takes_away=True,
        explanation="What it cancelled counts again, what it added does not. Events that somebody"
        " adjusted since stay as they are.",
    )
    def revert(self, by: User, backfill: Backfill, form: BackfillReasonForm) -> str:
        """Take it back."""
        reason = form.cleaned_data["reason"]
        run = start_work(
            backfill=backfill, kind=BackfillWork.REVERT, reason=reason, by=by, at=now()
        )
        return _asked("It is reverted now.") if run else f"{backfill} is reverted already."

    @form_action(
        "Discard",
        permission=_MAY,
        form=BackfillReasonForm,
        icon="delete_sweep",
        offered=_is_unapplied,
        refusal=_busy,
        is_final=True,
        takes_away=True,
        explanation="It will never be applied. What was uploaded stays for the record.",
    )
    def discard(self, by: User, backfill: Backfill, form: BackfillReasonForm) -> str:
        """Give it up."""
        reason = form.cleaned_data["reason"]
        refuse_worked_on(backfill)
        discard_backfill(backfill=backfill, reason=reason, by=by, at=now())
        return f"Discarded {backfill}."

    @page_action("Faults (CSV)", icon="download")
    def errors(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Download the lines that could not be taken in, with their faults."""
        backfill = self._seen(request, object_id)
        response = StreamingHttpResponse(error_file(backfill), content_type="text/csv")
        name = f"backfill-{backfill.pk}-faults.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response  # type: ignore[return-value]

    def _seen(self, request: HttpRequest, object_id: str) -> Backfill:
        backfill = self.get_object(request, unquote(object_id))
        if backfill is None or not self.has_view_permission(request, backfill):
            raise PermissionDenied
        assert isinstance(backfill, Backfill), "this admin's model"
        return backfill


def _undecided_words(backfill: Backfill) -> str:
    proposal = newest_proposal(backfill)
    status = "" if proposal is None else proposal.policy_change.status
    if status == PolicyStatus.APPROVED:
        return "It is approved: apply it."
    if status == PolicyStatus.SUBMITTED:
        return "A finance approver decides on the policy change."
    return f"The proposal was {status}: submit it again, or discard it."


def _asked(words: str) -> str:
    ring_worker()
    return f"{words} The page shows how far the worker is."


def _of_backfill(backfill: Backfill) -> dict[str, object]:
    return {"backfill__id__exact": backfill.pk}


offer_list(Backfill, BackfillEvent, _of_backfill, title="Uploaded events", icon="bolt")
offer_list(Backfill, BackfillError, _of_backfill, title="Lines with faults", icon="error")
offer_list(Backfill, MeterEventAdjustment, _of_backfill, title="Adjustments", icon="tune")
offer_list(
    Customer, Backfill, lambda customer: {"customer__id__exact": customer.pk}, icon="history"
)
