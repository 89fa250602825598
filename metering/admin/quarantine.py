"""What waits in quarantine: each event with what can be done for it."""

from typing import cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse

from billing_project.kernel.backoffice.actions import FormAction, form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge, document, link, moment, sentence
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.clock import now
from billing_project.kernel.exporting import FORMATS, pieces
from billing_project.kernel.models import User
from metering.admin.quarantine_forms import ConflictForm, MapForm, ReplayForm, SelectionForm
from metering.models import QuarantinedEvent, QuarantineGroup, QuarantineTry
from metering.models.event import QuarantineReason, QuarantineState
from metering.selectors.quarantine import Chosen
from metering.selectors.unmatched import COLUMNS, unmatched_rows
from metering.services.deciding import (
    MAY_DECIDE_LATE,
    MAY_REPLAY,
    refusal_of_reason,
    refusal_of_rows,
)
from metering.services.mapping import map_customer_id
from metering.services.quarantine import (
    AT_ONCE,
    ReplayResult,
    dismiss_quarantined,
    replay_quarantine,
)
from metering.services.workbench import amend_stored_event, keep_stored_event

MAY_DECIDE = (MAY_REPLAY, MAY_DECIDE_LATE)
_MAY_ADJUST = "metering.adjust_meterevent"
DISMISS_SELECTED = FormAction(
    "Dismiss selected",
    MAY_DECIDE,
    SelectionForm,
    offered=lambda subject: True,
    refusal=lambda user, subject: "",
    explanation="The events are kept, but will never be billed.",
    is_final=True,
    takes_away=True,
)
STATES = {"open": "wait", "replayed": "good", "amended": "good", "dismissed": ""}


def _is_open(event: QuarantinedEvent) -> bool:
    return event.state == QuarantineState.OPEN


def _is_conflict(event: QuarantinedEvent) -> bool:
    return _is_open(event) and event.reason == QuarantineReason.IDENTIFIER_CONFLICT


def _has_unknown_customer(event: QuarantinedEvent) -> bool:
    return _is_open(event) and event.reason == QuarantineReason.UNKNOWN_CUSTOMER


def refused_for(user: User, waiting: QuarantinedEvent | QuarantineGroup) -> str:
    """Say why a person may not decide on a row or a group, or return ""."""
    return refusal_of_reason(user, waiting.reason)


class QuarantineTryInline(ReadOnlyInline):
    """Replays that could not store the event: what it waited for, and what was found."""

    model = QuarantineTry
    fields = (
        moment("tried_at"), link("tried_by", "by"), sentence("reason_before", "waited for"),
        "detail_before", sentence("reason", "found"), "detail",
    )  # fmt: skip
    ordering = ("-id",)
    list_select_related = ("tried_by",)
    tab = False
    verbose_name_plural = "Tries"


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
        ("Why it waits", {"fields": (sentence("reason"), "detail", "kept_for")}),
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
    inlines = (QuarantineTryInline,)
    actions = ("download_selected", "replay_selected", "dismiss_selected")
    actions_detail = ("map_customer", "keep_stored", "amend_stored", "replay", "dismiss")

    @admin.display(description="First kept because")
    def kept_for(self, event: QuarantinedEvent) -> str:
        """Say what the event waited for when it came; the tries below say what was found since."""
        first = event.tries.order_by("id").first()
        return f"{first.detail_before or first.reason_before}" if first else event.detail

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Tell whether the person may act on some of what may be selected."""
        return any(request.user.has_perm(permission) for permission in MAY_DECIDE)

    @admin.action(description="Download as CSV", permissions=["view"])
    def download_selected(
        self, request: HttpRequest, queryset: QuerySet[QuarantinedEvent]
    ) -> StreamingHttpResponse:
        """Stream what is selected, or all that is filtered: the unmatched-event report."""
        body = pieces("csv", COLUMNS, unmatched_rows(queryset))
        response = StreamingHttpResponse(body, content_type=FORMATS["csv"])
        response["Content-Disposition"] = 'attachment; filename="unmatched.csv"'
        return response

    @admin.action(description="Replay selected", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[QuarantinedEvent]) -> None:
        """Send what is selected through the door again, at most a thousand events."""
        ids, user = _first_open(queryset), cast(User, request.user)
        if refusal := refusal_of_rows(user, Chosen(ids=ids).open_rows()):
            self.message_user(request, refusal, messages.ERROR)
            return
        done = replay_quarantine(by=user, at=now(), ids=ids)
        self.message_user(request, f"{told(done)}{_capped(ids)}")

    @admin.action(description="Dismiss selected", permissions=["replay"])
    def dismiss_selected(
        self, request: HttpRequest, queryset: QuerySet[QuarantinedEvent]
    ) -> HttpResponse | None:
        """Ask for the reason, then dismiss what is selected, at most a thousand events."""
        ids, user = _first_open(queryset), cast(User, request.user)
        form = SelectionForm(request.POST if "apply" in request.POST else None, subject=user)
        form.ids = ids
        refusal = refusal_of_rows(user, Chosen(ids=ids).open_rows())
        if not refusal and form.is_bound and form.is_valid():
            reason = form.cleaned_data["reason"]
            count = dismiss_quarantined(ids=ids, reason=reason, by=user, at=now())
            self.message_user(request, f"Dismissed {count:,}.{_capped(ids)}")
            return None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Dismiss selected",
            "subject_url": request.get_full_path(),
            "form": form,
            "action": DISMISS_SELECTED,
            "refusal": refusal,
            "media": self.media + form.media,
        }
        status = 422 if form.is_bound else 200
        return TemplateResponse(request, "backoffice/action.html", context, status=status)

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
        permission=MAY_DECIDE,
        form=ReplayForm,
        icon="replay",
        offered=_is_open,
        refusal=refused_for,
        hides_refused=True,
        explanation="What can be billed by now is stored and counted; the rest keeps waiting."
        " Map an unknown customer first.",
    )
    def replay(self, by: User, event: QuarantinedEvent, form: ReplayForm) -> str:
        """Send what was chosen through the door again."""
        return told(replay_quarantine(by=by, at=now(), **form.selection()))

    @form_action(
        "Dismiss",
        permission=MAY_DECIDE,
        icon="delete_sweep",
        offered=_is_open,
        refusal=refused_for,
        hides_refused=True,
        is_final=True,
        takes_away=True,
        explanation="The event is kept, but will never be billed.",
    )
    def dismiss(self, by: User, event: QuarantinedEvent, form: ReasonForm) -> str:
        """Keep the event, and never bill it."""
        reason = form.cleaned_data["reason"]
        dismiss_quarantined(ids=[event.pk], reason=reason, by=by, at=now())
        return f"Dismissed {event}."


def _first_open(rows: QuerySet[QuarantinedEvent]) -> list[int]:
    """Return the first of the selected rows that are open, as many as one transaction takes."""
    waiting = rows.filter(state=QuarantineState.OPEN).order_by("id")
    return list(waiting.values_list("pk", flat=True)[:AT_ONCE])


def _capped(ids: list[int]) -> str:
    is_capped = len(ids) == AT_ONCE
    return f" These were the first {AT_ONCE:,}: do it again for the rest." if is_capped else ""


def told(done: ReplayResult) -> str:
    """Say what became of replayed rows."""
    others = {
        "already stored": done.duplicates, "superseded": done.superseded,
        "in conflict": done.conflicts, "still open": done.still_open,
    }  # fmt: skip
    parts = [f"Replayed {done.replayed}", *(f"{words} {n}" for words, n in others.items() if n)]
    return ", ".join(parts) + (f": {done.waits_for}." if done.waits_for else ".")
