"""The registry of policies: what is in force at an instant, its history, the export."""

from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldBooleanWidget,
)

from billing_project.console.navigation import may_read
from billing_project.console.policies import COLUMNS, Entry, export_rows, kinds_known, policies_at
from billing_project.kernel.backoffice.display import (
    badge_html,
    moment_html,
    moment_text,
    object_url,
)
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.clock import now
from billing_project.kernel.exporting import FORMATS, pieces

_FORMATS = {"csv": "csv", "json": "jsonl"}  # One JSON document a line.
_SHOWN = 3  # Differences named in the table; the change's page has all.


class RegistryForm(forms.Form):
    """Which policies, at which instant."""

    kind = forms.ChoiceField(required=False, widget=UnfoldAdminSelectWidget)
    on = forms.SplitDateTimeField(
        label="In force on (UTC)", required=False, widget=UnfoldAdminSplitDateTimeWidget
    )
    history = forms.BooleanField(
        label="Whole history, with what does not govern",
        required=False,
        widget=UnfoldBooleanWidget,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kinds = [(kind.code, kind.label) for kind in kinds_known()]
        self.fields["kind"].choices = [("", "Every kind"), *kinds]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Line:
    """One version as the table shows it."""

    title: str
    url: str
    rule: str
    history_url: str
    kind: str
    state: SafeString
    since: str
    until: str
    asked: str
    asked_at: str
    approvals: tuple[str, ...]
    changes: tuple[str, ...]
    more: int
    is_first: bool
    sha256: str


def policies_page(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Show the policies in force now, or those that the address asks for."""
    if not may_read(request):
        raise PermissionDenied
    form = RegistryForm(request.GET or None)
    rule = request.GET.get("rule", "").replace("\x00", "")
    entries: list[Entry] = []
    at = now()
    if not form.is_bound or form.is_valid():
        said = form.cleaned_data if form.is_bound else {}
        at = said.get("on") or at
        is_history = bool(said.get("history") or rule)
        entries = policies_at(at, kind=said.get("kind", ""), rule=rule, is_in_force=not is_history)
        if (wanted := request.GET.get("format")) in _FORMATS:
            return _export(entries, wanted)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": f"History of {rule}" if rule else "Policies in force",
        "form": form,
        "media": form.media,
        "rule": rule,
        "at": moment_text(at),
        "lines": [_line(one) for one in entries],
        "exports": [
            (name, f"?{urlencode({**request.GET.dict(), 'format': name})}") for name in _FORMATS
        ],
        "all_url": reverse("console:policies"),
    }
    return TemplateResponse(request, "console/policies.html", context)


def _line(one: Entry) -> Line:
    change, changed = one.change, one.changed()
    return Line(
        title=change.title,
        url=object_url(change),
        rule=one.rule,
        history_url=f"{reverse('console:policies')}?{urlencode({'rule': one.rule})}",
        kind=one.kind.label,
        state=badge_html(one.state, POLICY_TONES[one.state]),
        since=moment_html(change.effective_at),
        until=_until(one),
        asked=str(change.proposed_by),
        asked_at=moment_html(change.proposed_at),
        approvals=tuple(f"{row.function}: {row.by}" for row in one.approvals),
        changes=tuple(
            f"{row.path}: {row.before if row.before is not None else 'new'}"
            f" → {row.after if row.after is not None else 'dropped'}"
            for row in changed[:_SHOWN]
        )
        if one.before
        else (),
        more=max(len(changed) - _SHOWN, 0),
        is_first=one.before is None,
        sha256=one.sha256,
    )


def _until(one: Entry) -> str:
    ends = [end for end in (one.change.expires_at, one.superseded_at) if end is not None]
    return f"until {moment_text(min(ends))}" if ends else ""


def _export(entries: list[Entry], wanted: str) -> StreamingHttpResponse:
    kind = _FORMATS[wanted]
    body = pieces(kind, COLUMNS, export_rows(entries))
    response = StreamingHttpResponse(body, content_type=FORMATS[kind])
    name = f"policies-{now().astimezone(UTC):%Y%m%dT%H%M%SZ}.{kind}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
