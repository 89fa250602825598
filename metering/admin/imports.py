"""Files of events: upload one, watch it come in, fetch what was not accepted."""

from datetime import UTC, datetime, time
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django_q.tasks import async_task
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSingleDateWidget

from billing_project.kernel.backoffice.actions import list_action, page_action
from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    badge,
    link,
    moment,
    number,
    progress_html,
)
from billing_project.kernel.backoffice.forms import ActionForm, ReasonField
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from metering.imports import FileFormat
from metering.models import ImportedLine, ImportRun, ImportState
from metering.selectors.imports import lines_file
from metering.services.uploads import upload_file

_STATES = {"waiting": "wait", "running": "info", "finished": "good", "failed": "bad"}
_STATUSES = {"rejected": "bad", "conflict": "bad", "quarantined": "wait"}
_REFRESH_SECONDS = 3


class UploadForm(ActionForm):
    """A file of events, and how old its use may be."""

    file = forms.FileField(
        label="File",
        help_text="CSV or JSONL, also compressed (.gz). A CSV has the columns event_name,"
        " identifier, customer, and optionally workspace and timestamp; every other column is a"
        " property.",
        widget=UnfoldAdminFileFieldWidget,
    )
    history_since = forms.DateField(
        label="Accept use since",
        required=False,
        help_text="Leave empty for the usual days; older use needs a reason. UTC.",
        widget=UnfoldAdminSingleDateWidget,
    )
    reason = ReasonField(required=False)

    def since(self) -> datetime | None:
        """Return the instant from which use is accepted, if another than usual."""
        day = self.cleaned_data["history_since"]
        return datetime.combine(day, time.min, UTC) if day else None


@admin.register(ImportRun)
class ImportRunAdmin(ReadOnlyAdmin):
    """Files that were brought in, and how far each came."""

    list_display = (
        "name",
        badge("state", _STATES),
        "progress",
        number("accepted_count", "accepted"),
        number("duplicate_count", "duplicates"),
        number("quarantined_count", "quarantined"),
        "refused_count",
        moment("started_at"),
    )
    list_filter = ("state",)
    search_fields = ("name", "=content_sha256")
    search_help_text = "File's name, or its sha256"
    fieldsets = (
        (None, {"fields": ("name", badge("state", _STATES), "progress", "fault")}),
        (
            "Lines",
            {
                "fields": (
                    number("record_count", "all"),
                    number("accepted_count", "accepted"),
                    number("duplicate_count", "duplicates"),
                    number("quarantined_count", "quarantined"),
                    number("conflict_count", "conflicts"),
                    number("rejected_count", "rejected"),
                )
            },
        ),
        (
            "File",
            {
                "fields": (
                    "format",
                    number("size_bytes", "bytes"),
                    "content_sha256",
                    "history_since",
                    "reason",
                    link("started_by"),
                    "started_at",
                    "updated_at",
                    "finished_at",
                )
            },
        ),
    )
    list_select_related = ("started_by",)
    actions_list = ("upload",)
    actions_detail = ("lines_jsonl", "lines_csv")

    @admin.display(description="Progress")
    def progress(self, run: ImportRun) -> str:
        """Draw how much of the file is read."""
        total = max(run.size_bytes, 1)
        is_read = run.state == ImportState.FINISHED
        share = 100 if is_read else min(100, run.read_bytes * 100 // total)
        return progress_html(share)

    @admin.display(description="Refused")
    def refused_count(self, run: ImportRun) -> str:
        """Count lines that stored nothing."""
        return f"{run.refused_count:,}"

    @list_action(
        "Upload a file",
        permission="metering.import_events",
        form=UploadForm,
        icon="upload_file",
        explanation="Every line goes through the same door as a request: it is stored once, kept in"
        " quarantine, or refused. The same file twice counts once. The worker reads it; its page"
        " shows how far it came.",
    )
    def upload(self, by: User, form: UploadForm) -> tuple[ImportRun, str]:
        """Take a file for the worker to read."""
        run = upload_file(
            upload=form.cleaned_data["file"],
            history_since=form.since(),
            reason=form.cleaned_data["reason"],
            by=by,
            at=now(),
        )
        async_task("metering.tasks.run_imports")  # If the ring is lost, the schedule finds it.
        return run, f"{run} was uploaded; its lines come in now."

    @page_action("Not accepted (JSONL)", icon="download")
    def lines_jsonl(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Download what was not accepted."""
        return self._download(request, object_id, FileFormat.JSONL)  # type: ignore[return-value]

    @page_action("Not accepted (CSV)", icon="download")
    def lines_csv(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Download what was not accepted."""
        return self._download(request, object_id, FileFormat.CSV)  # type: ignore[return-value]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a run; while it goes on, the page comes again by itself."""
        response = super().change_view(request, object_id, form_url, extra_context)
        run = self.get_object(request, object_id)
        if run is not None and run.is_open and response.status_code == 200:
            response["Refresh"] = str(_REFRESH_SECONDS)
        return response

    def _download(
        self, request: HttpRequest, object_id: str, kind: FileFormat
    ) -> StreamingHttpResponse:
        run = self.get_object(request, object_id)
        if run is None or not self.has_view_permission(request, run):
            raise PermissionDenied
        response = StreamingHttpResponse(
            lines_file(run, kind), content_type="text/csv" if kind == "csv" else "text/plain"
        )
        name = f"import-{run.pk}-not-accepted.{kind}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


@admin.register(ImportedLine)
class ImportedLineAdmin(LargeTableAdmin):
    """Lines that were not plainly accepted, as they came, and why."""

    list_display = (
        "line",
        link("run"),
        "identifier",
        badge("status", _STATUSES),
        "code",
        "detail",
    )
    list_filter = ("status",)
    list_select_related = ("run",)
    search_fields = ("identifier",)
    search_help_text = "Identifier, exactly as it was sent"
    fields = (
        "line",
        link("run"),
        "identifier",
        badge("status", _STATUSES),
        "code",
        "detail",
        "content",
    )


offer_list(ImportRun, ImportedLine, lambda run: {"run__id__exact": run.pk}, title="Lines")
