"""What waits in quarantine: each event with what can be done for it."""

from django.contrib import admin

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge, document, link, moment, sentence
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from metering.admin.quarantine_forms import ConflictForm, MapForm, ReplayForm
from metering.models import QuarantinedEvent
from metering.models.event import QuarantineReason, QuarantineState
from metering.services.mapping import map_customer_id
from metering.services.quarantine import ReplayResult, dismiss_quarantined, replay_quarantine
from metering.services.workbench import amend_stored_event, keep_stored_event

MAY_REPLAY = "metering.replay_quarantinedevent"
_MAY_ADJUST = "metering.adjust_meterevent"
STATES = {"open": "wait", "replayed": "good", "amended": "good", "dismissed": ""}


def _is_open(event: QuarantinedEvent) -> bool:
    return event.state == QuarantineState.OPEN


def _is_conflict(event: QuarantinedEvent) -> bool:
    return _is_open(event) and event.reason == QuarantineReason.IDENTIFIER_CONFLICT


def _has_unknown_customer(event: QuarantinedEvent) -> bool:
    return _is_open(event) and event.reason == QuarantineReason.UNKNOWN_CUSTOMER


@admin.register(QuarantinedEvent)
class QuarantinedEventAdmin(ReadOnlyAdmin):
    """Received, kept, not yet billable: to be mapped and replayed, decided, or dismissed."""

    list_display = (
        "identifier",
        "customer_external_id",
        "event_name",
        sentence("reason"),
        badge("state", STATES),
        moment("received_at"),
    )
    list_filter = ("state", "reason")
    search_fields = ("=identifier", "=customer_external_id", "=event_name")
    search_help_text = "Identifier, customer's id or event name, exactly as it was sent"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "identifier",
                    "customer_external_id",
                    "workspace_external_id",
                    "event_name",
                    "timestamp",
                    "received_at",
                    document("properties"),
                )
            },
        ),
        ("Why it waits", {"fields": (sentence("reason"), "detail")}),
        (
            "What became of it",
            {
                "fields": (
                    badge("state", STATES),
                    "resolved_at",
                    link("resolved_by"),
                    "resolution",
                )
            },
        ),
    )
    actions_detail = ("map_customer", "keep_stored", "amend_stored", "replay", "dismiss")

    @form_action(
        "Map to customer",
        permission=MAY_REPLAY,
        form=MapForm,
        icon="person_add",
        offered=_has_unknown_customer,
        is_final=True,
        explanation="From now on this id names the customer too, and all that waits under it is"
        " stored and billed to them. Nothing can take the name back.",
    )
    def map_customer(self, by: User, event: QuarantinedEvent, form: MapForm) -> str:
        """Let the id name a customer, and replay what came under it."""
        customer = form.cleaned_data["customer"]
        done = map_customer_id(
            external_id=event.customer_external_id,
            customer=customer,
            reason=form.cleaned_data["reason"],
            by=by,
            at=now(),
        )
        return f"{event.customer_external_id} names {customer.external_id} now. {told(done)}"

    @form_action(
        "Keep the stored event",
        permission=MAY_REPLAY,
        form=ConflictForm,
        icon="verified",
        offered=_is_conflict,
        is_final=True,
        explanation="The stored event goes on counting as it does; this report is kept and never"
        " billed.",
    )
    def keep_stored(self, by: User, event: QuarantinedEvent, form: ConflictForm) -> str:
        """Decide for what is stored."""
        reason = form.cleaned_data["reason"]
        keep_stored_event(row_id=event.pk, reason=reason, by=by, at=now())
        return f"{event.identifier} counts as it was stored."

    @form_action(
        "Amend the stored event",
        permission=_MAY_ADJUST,
        form=ConflictForm,
        icon="edit_note",
        offered=_is_conflict,
        explanation="The stored event counts with the properties of this report from now on; usage"
        " and credits are corrected at once. The event itself stays as it was sent.",
    )
    def amend_stored(self, by: User, event: QuarantinedEvent, form: ConflictForm) -> str:
        """Decide for the later report."""
        reason = form.cleaned_data["reason"]
        amend_stored_event(row_id=event.pk, reason=reason, by=by, at=now())
        return f"{event.identifier} counts as it was reported later."

    @form_action(
        "Replay",
        permission=MAY_REPLAY,
        form=ReplayForm,
        icon="replay",
        offered=_is_open,
        explanation="What can be billed by now is stored and counted; the rest keeps waiting."
        " Map an unknown customer first.",
    )
    def replay(self, by: User, event: QuarantinedEvent, form: ReplayForm) -> str:
        """Send what was chosen through the door again."""
        return told(replay_quarantine(by=by, at=now(), **form.selection()))

    @form_action(
        "Dismiss",
        permission=MAY_REPLAY,
        icon="delete_sweep",
        offered=_is_open,
        is_final=True,
        takes_away=True,
        explanation="The event is kept, but will never be billed.",
    )
    def dismiss(self, by: User, event: QuarantinedEvent, form: ReasonForm) -> str:
        """Keep the event, and never bill it."""
        reason = form.cleaned_data["reason"]
        dismiss_quarantined(ids=[event.pk], reason=reason, by=by, at=now())
        return f"Dismissed {event}."


def told(done: ReplayResult) -> str:
    """Say what became of replayed rows."""
    return (
        f"Replayed {done.replayed}, already stored {done.duplicates}, superseded {done.superseded},"
        f" in conflict {done.conflicts}, still open {done.still_open}."
    )
