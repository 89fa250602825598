"""The quarantine workbench: what waits by its cause, who answers for it, work on whole groups."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    badge,
    badge_html,
    document,
    link,
    moment,
    moment_text,
    number,
    object_link,
    sentence,
    sentence_text,
)
from billing_project.kernel.backoffice.related import Link, list_url, offer, offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from metering.admin.quarantine import MAY_DECIDE, refused_for, told
from metering.admin.quarantine_forms import (
    AssignForm,
    GroupForm,
    GroupMapForm,
    GroupReasonForm,
    MeterForm,
)
from metering.models import (
    QuarantineAssignment,
    QuarantinedEvent,
    QuarantineGroup,
    QuarantineRun,
    RunKind,
)
from metering.models.event import QuarantineReason
from metering.selectors.quarantine import chosen_of
from metering.services.deciding import MAY_REPLAY
from metering.services.mapping import map_customer_part, map_event_name
from metering.services.quarantine import ReplayedPart
from metering.services.quarantine_runs import advance_run, start_run
from metering.services.workbench import assign_group

_SHORT = 30
_NAMED = 12  # Senders and event names that a group's page lists.
_REMEDIES: dict[str, str] = {
    QuarantineReason.UNKNOWN_CUSTOMER: "Map the id to a customer, or create the customer and"
    " replay; dismiss what was only a test.",
    QuarantineReason.UNKNOWN_EVENT_NAME: "Add a meter that reads these events; dismiss what is"
    " never to be billed.",
    QuarantineReason.MISSING_VALUE: "Ask the sender to send the events again with the value, under"
    " the same identifiers: a good report closes the one that waits. A replay finds the value"
    " missing again, and a new version of the meter helps only for use from its hour on. Dismiss"
    " what is never to be billed.",
    QuarantineReason.INVALID_VALUE: "A meter reads a value here that is no number: its sender"
    " reports it again under the same identifier, which closes this one. Dismiss what is never to"
    " be billed.",
    QuarantineReason.IDENTIFIER_CONFLICT: "One identifier says two things: decide on each event"
    " which of them holds.",
    QuarantineReason.PERIOD_CLOSED: "The period is invoiced and the customer's rule asks a person:"
    " replay bills the events on a further invoice, dismiss bears them.",
}
_KINDS = {"replay": "info", "dismiss": ""}


def _waits_for(reason: QuarantineReason) -> Any:
    return lambda group: group.reason == reason


@admin.register(QuarantineGroup)
class QuarantineGroupAdmin(ReadOnlyAdmin):
    """Open events that wait for one and the same thing, the largest group first."""

    list_display = (
        "waits_for",
        sentence("reason"),
        "owner",
        number("event_count", "events"),
        "first_seen",
        moment("last_seen_at"),
    )
    list_filter = ("reason", "role")
    list_select_related = ("person", "sample")
    search_fields = ("missing",)
    search_help_text = "Customer's id, event name or value that is missing"
    ordering = ("-event_count", "id")
    fieldsets = (
        (
            "What waits",
            {
                "fields": (
                    "missing",
                    sentence("reason"),
                    "remedy",
                    "owner",
                    "event_count",
                    "first_seen_at",
                    "last_seen_at",
                    "age",
                    "senders",
                    "event_names",
                )
            },
        ),
        ("The newest of them", {"fields": ("sample_link", "sample_detail", "sample_content")}),
    )
    actions_detail = ("map_customer", "add_meter", "assign", "replay_group", "dismiss_group")

    @admin.display(description="Missing", ordering="missing")
    def waits_for(self, group: QuarantineGroup) -> str:
        """Name what is missing, shortened for the list."""
        return Truncator(group.missing).chars(_SHORT)

    @admin.display(description="What to do")
    def remedy(self, group: QuarantineGroup) -> str:
        """Say what lets the events be billed, or who decides that they are not."""
        return _REMEDIES.get(group.reason, "Look at an event, then replay or dismiss the group.")

    @admin.display(description="Owner", ordering="role")
    def owner(self, group: QuarantineGroup) -> str:
        """Show who answers for it: the person who was named, else the role."""
        if group.person is None:
            return badge_html(sentence_text(group.role), "info")
        return format_html("{} <small>{}</small>", group.person, sentence_text(group.role))

    @admin.display(description="First seen", ordering="first_seen_at")
    def first_seen(self, group: QuarantineGroup) -> str:
        """Show since when they wait, and how long that is."""
        return format_html(
            '<span class="bo-figure">{}<br><small>{}</small></span>',
            moment_text(group.first_seen_at), self.age(group),
        )  # fmt: skip

    @admin.display(description="Age")
    def age(self, group: QuarantineGroup) -> str:
        """Say how long the oldest has waited."""
        waited = now() - group.first_seen_at
        hours, minutes = waited.seconds // 3600, waited.seconds % 3600 // 60
        if waited.days:
            return f"{waited.days} d {hours} h"
        return f"{hours} h {minutes} min" if hours else f"{minutes} min"

    @admin.display(description="Senders' customers")
    def senders(self, group: QuarantineGroup) -> str:
        """Name whose events wait."""
        return self._names(group, "customer_external_id", group.customer_count)

    @admin.display(description="Event names")
    def event_names(self, group: QuarantineGroup) -> str:
        """Name what kinds of events wait."""
        return self._names(group, "event_name", group.event_name_count)

    @admin.display(description="Event")
    def sample_link(self, group: QuarantineGroup) -> str:
        """Link to the newest event."""
        return object_link(group.sample)

    @admin.display(description="Detail")
    def sample_detail(self, group: QuarantineGroup) -> str:
        """Say why the newest event waits."""
        return group.sample.detail

    @admin.display(description="Says")
    def sample_content(self, group: QuarantineGroup) -> str:
        """Show what the newest event says."""
        return document("properties")(group.sample)

    @form_action(
        "Map to customer",
        permission=MAY_REPLAY,
        form=GroupMapForm,
        icon="person_add",
        offered=_waits_for(QuarantineReason.UNKNOWN_CUSTOMER),
        is_final=True,
        explanation="From now on this id names the customer too, and all that waits under it is"
        " stored and billed to them. Nothing can take the name back.",
    )
    def map_customer(self, by: User, group: QuarantineGroup, form: GroupMapForm) -> SafeString:
        """Let the id name a customer, and replay the group."""
        customer = form.cleaned_data["customer"]
        reason = form.cleaned_data["reason"]
        part = map_customer_part(
            external_id=group.missing, customer=customer, reason=reason, by=by, at=now()
        )
        words = f"{group.missing} names {customer.external_id} now."
        return self._after_part(words, group, part, by)

    @form_action(
        "Add a meter",
        permission="metering.manage_meter",
        form=MeterForm,
        icon="speed",
        offered=_waits_for(QuarantineReason.UNKNOWN_EVENT_NAME),
        is_final=True,
        explanation="The meter counts every event of this name from now on, and what waits here is"
        " stored and counted by it. Its code, aggregation and unit never change; how it reads"
        " events, filters among it, is changed by a later version on the meter's page.",
    )
    def add_meter(self, by: User, group: QuarantineGroup, form: MeterForm) -> SafeString:
        """Make the meter that the events lack, and replay the group."""
        meter, part = map_event_name(
            event_name=group.missing,
            meter=form.rule(),
            reason=form.cleaned_data["reason"],
            by=by,
            at=now(),
        )
        return self._after_part(f"Meter {meter.code} reads {group.missing} now.", group, part, by)

    @form_action(
        "Assign",
        permission=MAY_REPLAY,
        form=AssignForm,
        icon="assignment_ind",
        explanation="Whoever is named answers for these events, and for those that come to wait for"
        " the same thing later.",
    )
    def assign(self, by: User, group: QuarantineGroup, form: AssignForm) -> str:
        """Name who answers for it."""
        data = form.cleaned_data
        made = assign_group(
            reason=group.reason,
            missing=group.missing,
            role=data["role"],
            person=data["person"],
            note=data["note"],
            by=by,
            at=now(),
        )
        return f"{made.person or sentence_text(made.role)} answers for {group.missing} now."

    @form_action(
        "Replay all",
        permission=MAY_DECIDE,
        form=GroupForm,
        icon="replay",
        refusal=refused_for,
        hides_refused=True,
        explanation="What can be billed by now is stored and counted once; the rest keeps waiting."
        " A large group is replayed in chunks by the worker: its run shows how many are left.",
    )
    def replay_group(self, by: User, group: QuarantineGroup, form: GroupForm) -> SafeString:
        """Send the whole group through the door again."""
        return _run(RunKind.REPLAY, group, by)

    @form_action(
        "Dismiss all",
        permission=MAY_DECIDE,
        form=GroupReasonForm,
        icon="delete_sweep",
        refusal=refused_for,
        hides_refused=True,
        is_final=True,
        takes_away=True,
        explanation="The events are kept, but will never be billed.",
    )
    def dismiss_group(self, by: User, group: QuarantineGroup, form: GroupReasonForm) -> SafeString:
        """Keep the whole group, and never bill it."""
        return _run(RunKind.DISMISS, group, by, form.cleaned_data["reason"])

    def _names(self, group: QuarantineGroup, column: str, count: int) -> str:
        rows = chosen_of(group).open_rows().values_list(column, flat=True).distinct()
        named = list(rows.order_by(column)[:_NAMED])
        return ", ".join(named) + (f" and {count - len(named):,} more" * (count > len(named)))

    def _after_part(
        self, words: str, group: QuarantineGroup, part: ReplayedPart, by: User
    ) -> SafeString:
        """Tell what became of the first thousand; the rest is a run for the worker."""
        first = format_html("{} {}", words, told(part.result))
        return format_html("{} {}", first, _run(RunKind.REPLAY, group, by)) if part.left else first

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponseRedirect:
        """Go to the list: a group of which nothing is open any more has no page."""
        return HttpResponseRedirect(list_url(QuarantineGroup, {}))


@admin.register(QuarantineRun)
class QuarantineRunAdmin(ReadOnlyAdmin):
    """Work on whole groups: how far each came."""

    list_display = (
        "missing",
        sentence("reason"),
        badge("kind", _KINDS),
        "progress",
        "closed_count",
        link("requested_by", "by"),
        moment("requested_at"),
        moment("finished_at"),
    )
    list_filter = ("kind", ("finished_at", admin.EmptyFieldListFilter))
    list_select_related = ("requested_by",)
    search_fields = ("=missing",)
    search_help_text = "What the group waited for, exactly"
    fields = (
        "missing",
        sentence("reason"),
        badge("kind", _KINDS),
        "words",
        "progress",
        "fault",
        "attempt_count",
        "closed_count",
        link("requested_by", "by"),
        "requested_at",
        "finished_at",
    )

    @admin.display(description="Progress")
    def progress(self, run: QuarantineRun) -> str:
        """Show how many were tried and how many are left."""
        if run.finished_at:
            return badge_html(f"{run.tried_count:,} tried", "good")
        if run.fault:
            return badge_html(
                f"failed, {run.left_count:,} left, again {moment_text(run.not_before)}", "bad"
            )
        return badge_html(
            f"{run.tried_count:,} of {run.event_count:,}, {run.left_count:,} left", "wait"
        )


@admin.register(QuarantineAssignment)
class QuarantineAssignmentAdmin(ReadOnlyAdmin):
    """Who was named to answer for what; the newest one of a group governs."""

    list_display = (
        "missing",
        sentence("reason"),
        "role",
        link("person"),
        "note",
        link("created_by", "by"),
        moment("created_at"),
    )
    list_filter = ("role",)
    list_select_related = ("person", "created_by")
    search_fields = ("=missing",)
    search_help_text = "What the group waits for, exactly"
    fields = (
        "missing",
        sentence("reason"),
        "role",
        link("person"),
        "note",
        link("created_by", "by"),
        "created_at",
    )


def _run(kind: RunKind, group: QuarantineGroup, by: User, words: str = "") -> SafeString:
    """Ask for the run and do its first chunk; the worker does the rest."""
    at = now()
    run = start_run(
        kind=kind, reason=group.reason, missing=group.missing, words=words, by=by, at=at
    )
    run = advance_run(run, at=at)
    done = "replayed or closed" if kind == RunKind.REPLAY else "dismissed"
    counted = f"{run.closed_count:,} of {run.tried_count:,} {done}"
    if run.finished_at:
        return format_html("{}.", counted)
    return format_html("{}, {} left: {}.", counted, f"{run.left_count:,}", object_link(run, "run"))


def _rows_of(group: QuarantineGroup) -> dict[str, object]:
    column = {
        QuarantineReason.UNKNOWN_EVENT_NAME: "event_name",
        QuarantineReason.MISSING_VALUE: "detail",
    }.get(QuarantineReason(group.reason), "customer_external_id")
    return {"state__exact": "open", "reason__exact": group.reason, column: group.missing}


def _history_of(group: QuarantineGroup) -> Link:
    named = list_url(QuarantineAssignment, {"q": group.missing})
    return Link("Who was named", named, "assignment_ind")


offer_list(QuarantineGroup, QuarantinedEvent, _rows_of, title="Its events", icon="list")
offer(QuarantineGroup, _history_of)
