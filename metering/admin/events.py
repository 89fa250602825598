"""Raw usage as it came, and what became of each report.

EventIdentity has no page: its key is composite, which the admin cannot address. An event's page
shows its identity's customer and identifier.
"""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    badge,
    badge_html,
    document,
    link,
    moment,
    pairs,
)
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from metering.admin.event_forms import AmendEventForm, CancelEventForm
from metering.models import (
    EventBatch,
    EventRejection,
    MeterEvent,
    MeterEventAdjustment,
    UsageWindow,
)
from metering.models.event import AdjustmentType
from metering.selectors.archive import archived_at, archived_starts
from metering.selectors.archived_events import archived_events_of
from metering.selectors.events import event_ids_named, newest_adjustment
from metering.services.adjust import amend_event, cancel_event

_MOST_NAMED = 100
_ADJUST = "metering.adjust_meterevent"
ADJUSTMENTS: dict[str, str] = {"cancel": "bad", "amend": "wait", "reinstate": "good"}


def _counts(event: MeterEvent) -> bool:
    """Tell an event that counts from one that was cancelled."""
    newest = newest_adjustment(event)
    return newest is None or newest.type != AdjustmentType.CANCEL


@admin.register(MeterEvent)
class MeterEventAdmin(LargeTableAdmin):
    """Reports of use, as they were sent; partitioned by month, never counted for a list."""

    list_display = (
        "identifier",
        link("customer"),
        link("workspace"),
        "event_name",
        pairs("properties"),
        moment("timestamp"),
        moment("received_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter),)
    list_select_related = ("customer", "workspace")
    sortable_by = ()
    search_fields = ("identifier",)
    search_help_text = "Identifier, exactly as it was sent"
    fields = (
        "identifier",
        link("customer"),
        link("workspace"),
        "event_name",
        "timestamp",
        "received_at",
        document("properties"),
        "adjustment",
        "batch_id",
        "kept_in",
    )
    actions_detail = ("amend", "cancel")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find events by their identity, whose key starts with the customer: no scan of events."""
        words = search_term.strip().replace("\x00", "")
        if not words:
            return queryset, False
        return queryset.filter(pk__in=event_ids_named(words, _MOST_NAMED)), False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> MeterEvent | None:
        """Show an event of an archived month too, out of its file."""
        found: MeterEvent | None = super().get_object(request, object_id, from_field)
        if found is None and object_id.isascii() and object_id.isdigit():
            found = next(iter(archived_events_of([int(object_id)])), None)
        return found

    def note(self) -> str:
        """Say what the list cannot show."""
        months = ", ".join(f"{start:%Y-%m}" for start in sorted(archived_starts()))
        return months and (
            f"Events of {months} are archived and not in this list. Each is found by its identifier"
            " in the search at the top, and by the lineage of what came of it."
        )

    @admin.display(description="Kept in")
    def kept_in(self, event: MeterEvent) -> str:
        """Say whether the table or a file holds it."""
        month = archived_at(event.timestamp)
        return f"{month.file_name}, because {month} is archived" if month else "the table of events"

    @admin.display(description="Adjustment")
    def adjustment(self, event: MeterEvent) -> str:
        """Show the adjustment that governs."""
        newest = newest_adjustment(event)
        if newest is None:
            return "none: the event counts as it was sent"
        return format_html(
            "{} {}, {}: {}",
            badge_html(newest.type, ADJUSTMENTS.get(newest.type, "")),
            f"{newest.created_at:%Y-%m-%d}", newest.created_by, newest.reason,
        )  # fmt: skip

    @form_action(
        "Amend event",
        permission=_ADJUST,
        form=AmendEventForm,
        icon="edit_note",
        offered=_counts,
        explanation="The event counts with these properties from now on: usage, credits and overage"
        " follow at once. The event itself stays as it was sent. Of an invoice that is finalized,"
        " what was claimed too much is proposed as a credit note, and more goes on a further"
        " invoice.",
    )
    def amend(self, by: User, event: MeterEvent, form: AmendEventForm) -> str:
        """Let the event count with other properties."""
        amend_event(
            based_on=form.cleaned_data["based_on"],
            customer=event.customer,
            identifier=event.identifier,
            properties=form.cleaned_data["properties"],
            reason=form.cleaned_data["reason"],
            by=by,
            at=now(),
        )
        return f"Amended {event.identifier}."

    @form_action(
        "Cancel event",
        permission=_ADJUST,
        form=CancelEventForm,
        icon="event_busy",
        offered=_counts,
        is_final=True,
        takes_away=True,
        explanation="The event stays on record but counts no longer: usage, credits and overage"
        " that came of it are taken back. An invoice that was finalized stays as it is; a credit"
        " note over what it claims too much is proposed.",
    )
    def cancel(self, by: User, event: MeterEvent, form: CancelEventForm) -> str:
        """Let the event count no longer."""
        cancel_event(
            customer=event.customer,
            identifier=event.identifier,
            reason=form.cleaned_data["reason"],
            by=by,
            at=now(),
        )
        return f"Cancelled {event.identifier}."


@admin.register(MeterEventAdjustment)
class MeterEventAdjustmentAdmin(ReadOnlyAdmin):
    """Corrections of events, and why; the newest one of an event governs."""

    list_display = (
        "identifier",
        link("customer"),
        badge("type", ADJUSTMENTS),
        "reason",
        link("created_by"),
        moment("created_at"),
    )
    list_filter = ("type", ("customer", AutocompleteSelectFilter))
    list_select_related = ("customer", "created_by")
    search_fields = ("=identifier", "=customer__external_id")
    search_help_text = "Identifier or customer's external id, exactly"
    fields = (
        "identifier",
        link("customer"),
        "timestamp",
        badge("type", ADJUSTMENTS),
        document("properties"),
        "reason",
        link("created_by"),
        "created_at",
    )


@admin.register(EventBatch)
class EventBatchAdmin(LargeTableAdmin):
    """Events stored by one request; the aggregator takes each batch once."""

    list_display = (
        "__str__",
        "event_count",
        moment("received_at"),
        moment("first_timestamp", "first event"),
        moment("last_timestamp", "last event"),
        moment("aggregated_at"),
    )
    list_filter = (("aggregated_at", admin.EmptyFieldListFilter),)
    fields = (
        "event_count",
        "received_at",
        "first_event_id",
        "last_event_id",
        "first_timestamp",
        "last_timestamp",
        "aggregated_at",
    )


@admin.register(EventRejection)
class EventRejectionAdmin(ReadOnlyAdmin):
    """What was refused at the door: how often, with the last sample."""

    list_display = ("code", "api_key_name", "day", "count", moment("last_at"))
    list_filter = ("code", "api_key_name")
    ordering = ("-last_at",)
    fields = ("code", "api_key_name", "day", "count", document("sample"), "last_at")


def _window_of(event: MeterEvent) -> dict[str, object]:
    hour = event.timestamp.replace(minute=0, second=0, microsecond=0)
    return {
        "customer__id__exact": event.customer_id,
        "start_at__gte": hour.isoformat(),
        "start_at__lt": (hour + timedelta(hours=1)).isoformat(),
    }


offer_list(MeterEvent, UsageWindow, _window_of, title="Usage windows of its hour", icon="schedule")
offer_list(MeterEventAdjustment, MeterEvent, lambda a: {"id__exact": a.event_id}, title="Event")
offer_list(
    EventBatch,
    MeterEvent,
    lambda batch: {
        "batch_id__exact": batch.pk,
        "id__gte": batch.first_event_id,
        "id__lte": batch.last_event_id,
    },
)
