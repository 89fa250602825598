"""Incidents with their evidence, and the weekly checkpoints of the controls."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action, list_action, page_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge, link, moment, money_text
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.backoffice.related import list_url, offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from credits.admin.anomalies import MANAGE
from credits.admin.anomaly_forms import ActionTakenForm, NewIncidentForm
from credits.models import (
    Anomaly,
    ControlCheckpoint,
    Feedback,
    Incident,
    IncidentAction,
    IncidentEvidence,
    IncidentState,
    PlannedActivity,
)
from credits.selectors.checkpoint_facts import judges_of_own_work
from credits.services.checkpoints import sign_checkpoint
from credits.services.evidence import make_evidence
from credits.services.incidents import Scope, act_on_incident, open_incident, resolve_incident

_STATES = {"open": "bad", "contained": "wait", "resolved": "good"}

_LISTS: dict[str, tuple[type[Model], dict[str, str]]] = {  # Where all of a week's lists stand.
    "unresolved_anomalies": (Anomaly, {"feedback__exact": Feedback.NONE.value}),
    "planned_activities": (PlannedActivity, {}),
    "open_incidents": (Incident, {}),
}


def _goes_on(incident: Incident) -> bool:
    return incident.state != IncidentState.RESOLVED


class ActionInline(ReadOnlyInline):
    """What was done, in its order."""

    model = IncidentAction
    fields = (moment("at"), link("by"), "what")
    list_select_related = ("by",)
    tab = False


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin):
    """What went wrong, who looks after it, what was done, and how it ended."""

    list_display = (
        "__str__",
        link("customer"),
        badge("state", _STATES),
        link("owner"),
        moment("start_at", "from"),
        moment("opened_at", "opened"),
        moment("resolved_at", "resolved"),
    )
    list_filter = ("state", ("customer", AutocompleteSelectFilter))
    list_select_related = ("customer", "owner")
    search_fields = ("title", "customer__external_id", "owner__username")
    search_help_text = "Title, customer or owner"
    fields = (
        "title",
        link("customer"),
        link("anomaly"),
        (moment("start_at", "from"), moment("end_at", "until")),
        (badge("state", _STATES), link("owner", "looks after it")),
        (link("opened_by", "opened by"), moment("opened_at", "opened")),
        "resolution",
        (link("resolved_by", "resolved by"), moment("resolved_at", "resolved")),
    )
    inlines = (ActionInline,)
    actions_list = ("open_by_hand",)
    actions_detail = ("write_down", "make_pack", "resolve")

    @list_action("Open incident", permission=MANAGE, form=NewIncidentForm)
    def open_by_hand(self, by: User, form: NewIncidentForm) -> tuple[Model, str]:
        """Open an incident that no anomaly told of."""
        said = form.cleaned_data
        scope = Scope(said["customer"], said["start_at"], said["end_at"])
        incident = open_incident(
            title=said["title"], scope=scope, owner=said["owner"], key=form.key, by=by, at=now()
        )
        return incident, "Opened."

    @form_action(
        "Write down what was done",
        permission=MANAGE,
        form=ActionTakenForm,
        icon="edit_note",
        offered=_goes_on,
    )
    def write_down(self, by: User, incident: Incident, form: ActionTakenForm) -> str:
        """Keep an action; it may contain the incident, or hand it over."""
        said = form.cleaned_data
        act_on_incident(
            incident=incident, what=said["reason"], by=by, at=now(),
            is_contained=said["is_contained"], owner=said["owner"],
        )  # fmt: skip
        return "Kept."

    @form_action(
        "Make evidence pack",
        permission=MANAGE,
        icon="folder_zip",
        explanation="A report as PDF, and the rows behind it with their hashes as ZIP: events,"
        " rated usage, ledger, requests and what was done. It is kept as it is now.",
    )
    def make_pack(self, by: User, incident: Incident, form: ReasonForm) -> str:
        """Keep a pack of the incident as it is now."""
        row = make_evidence(incident=incident, by=by, at=now())
        return f"Made: {row}."

    @form_action(
        "Resolve",
        permission=MANAGE,
        icon="task_alt",
        offered=_goes_on,
        is_final=True,
        explanation="Say why it happened and what keeps it from happening again.",
    )
    def resolve(self, by: User, incident: Incident, form: ReasonForm) -> str:
        """Say how it ended."""
        resolve_incident(incident=incident, resolution=form.cleaned_data["reason"], by=by, at=now())
        return "Resolved."


@admin.register(IncidentEvidence)
class IncidentEvidenceAdmin(ReadOnlyAdmin):
    """Evidence packs as they were made."""

    list_display = ("__str__", link("made_by"), moment("made_at"), "archive_digest")
    list_select_related = ("incident", "made_by")
    search_fields = ("incident__title",)
    search_help_text = "Incident"
    fields = (
        link("incident"),
        "in_it",
        "pdf_digest",
        "archive_digest",
        link("made_by"),
        moment("made_at"),
    )
    actions_detail = ("report", "archive")

    def get_queryset(self, request: HttpRequest):  # type: ignore[no-untyped-def]
        """Leave the documents where they are until somebody takes them."""
        return super().get_queryset(request).defer("pdf", "archive")

    @admin.display(description="In it")
    def in_it(self, row: IncidentEvidence) -> str:
        """List the files with their rows."""
        return "; ".join(f"{one['name']}: {one['rows']:,} rows" for one in row.files)

    @page_action("Report", icon="picture_as_pdf")
    def report(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the PDF."""
        row = self._taken(request, object_id)
        return _file(bytes(row.pdf), f"evidence-{row.pk}.pdf", "application/pdf")

    @page_action("ZIP", icon="folder_zip")
    def archive(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Hand out the rows."""
        row = self._taken(request, object_id)
        return _file(bytes(row.archive), f"evidence-{row.pk}.zip", "application/zip")

    def _taken(self, request: HttpRequest, object_id: str) -> IncidentEvidence:
        row: IncidentEvidence | None = self.get_object(request, unquote(object_id))
        if row is None or not self.has_view_permission(request, row):
            raise PermissionDenied
        return row


def _file(content: bytes, name: str, kind: str) -> HttpResponse:
    response = HttpResponse(content, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


@admin.register(ControlCheckpoint)
class ControlCheckpointAdmin(ReadOnlyAdmin):
    """What the controls did, week by week, with who looked at it."""

    list_display = (
        "__str__",
        "prevented",
        "open_anomalies",
        moment("prepared_at", "prepared"),
        link("signed_by"),
        moment("signed_at", "signed"),
    )
    list_filter = (("signed_at", admin.EmptyFieldListFilter),)
    list_select_related = ("signed_by",)
    fields = (
        "__str__",
        "week",
        "not_by",
        "document_sha256",
        (link("prepared_by"), moment("prepared_at", "prepared")),
        (link("signed_by"), moment("signed_at", "signed")),
        "note",
    )
    actions_detail = ("sign",)

    @admin.display(description="Prevented overspend")
    def prevented(self, row: ControlCheckpoint) -> str:
        """Sum what was refused, by currency."""
        return ", ".join(prevented_texts(row)) or "-"

    @admin.display(description="Unresolved anomalies")
    def open_anomalies(self, row: ControlCheckpoint) -> int:
        """Count anomalies of which nobody had said what they were."""
        known = row.document.get("counts", {})  # Weeks of before counts were kept have none.
        return int(known.get("unresolved_anomalies", len(row.document["unresolved_anomalies"])))

    @admin.display(description="The week")
    def week(self, row: ControlCheckpoint) -> str:
        """Show the document as it was prepared."""
        context = {
            "document": row.document, "prevented": prevented_texts(row), "cut": _cut(row.document),
        }  # fmt: skip
        return render_to_string("backoffice/checkpoint.html", context)

    @admin.display(description="Not to be signed by")
    def not_by(self, row: ControlCheckpoint) -> str:
        """Name who has own work in the week."""
        judged = judges_of_own_work(row)
        names = User.objects.filter(pk__in=judged).order_by("username")
        return "; ".join(f"{one.username}: {judged[one.pk]}" for one in names) or "-"

    @form_action(
        "Sign",
        permission="credits.sign_controlcheckpoint",
        icon="draw",
        offered=lambda row: row.signed_at is None,
        is_final=True,
        explanation="Say what you looked at and what follows. Your name stands under the hash of"
        " what is shown here.",
    )
    def sign(self, by: User, row: ControlCheckpoint, form: ReasonForm) -> str:
        """Put a name under the week."""
        sign_checkpoint(checkpoint=row, note=form.cleaned_data["reason"], by=by, at=now())
        return "Signed."


def _cut(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Say of each list of a week that holds not all its rows how many it holds, and where all are.

    The lists of today: what was resolved since stands there as such.
    """
    found = {}
    for name, count in document.get("counts", {}).items():
        shown = len(document[name])
        if shown < count:
            url = list_url(*_LISTS[name])
            found[name] = {"text": f"{shown:,} of {count:,} are listed", "url": url}
    return found


def prevented_texts(row: ControlCheckpoint) -> list[str]:
    """Sum what was refused, by currency."""
    sums: dict[str, int] = {}
    for one in row.document["prevented"]:
        if one["amount_minor"] is not None:
            sums[one["currency"]] = sums.get(one["currency"], 0) + one["amount_minor"]
    return [money_text(amount, currency) for currency, amount in sorted(sums.items())]


offer_list(
    Incident,
    IncidentEvidence,
    lambda incident: {"incident__id__exact": incident.pk},
    title="Evidence",
    icon="folder_zip",
)
