"""The page that answers "why is this not billed?" for an identifier that somebody pastes."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from billing_project.console.explaining import explain, explain_all
from billing_project.console.navigation import lineage_url, may_read
from billing_project.kernel.backoffice.display import moment_html, object_url
from billing_project.kernel.clock import now
from billing_project.kernel.errors import NotFound
from metering.selectors.explaining import Explanation, Step

_LENGTH = 300


@dataclass(frozen=True)
class StepBox:
    """One step as the page draws it."""

    step: Step
    title: str
    at: str
    url: str


@dataclass(frozen=True)
class Answer:
    """One event's way, ready to be drawn."""

    told: Explanation
    boxes: tuple[StepBox, ...]
    lineage_url: str


def explaining_page(request: HttpRequest) -> HttpResponse:
    """Explain the events that go by what was typed: an identifier, or customer/identifier."""
    if not may_read(request):
        raise PermissionDenied
    given = request.GET.get("q") or request.GET.get("identifier", "")  # As the API calls it.
    text = given.strip().replace("\x00", "")[:_LENGTH]
    answers = [_answer(told) for told in _explanations(text)] if text else []
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Why is this not billed?",
        "q": text,
        "answers": answers,
        "is_lost": bool(text) and not answers,
    }
    return TemplateResponse(request, "console/explaining.html", context)


def _explanations(text: str) -> list[Explanation]:
    """An identifier may hold a slash, so the whole text is tried first."""
    at = now()
    if found := explain_all(text, at):
        return found
    customer, slash, identifier = text.partition("/")
    if not slash:
        return []
    try:
        return [explain(customer, identifier, at)]
    except NotFound:
        return []


def _answer(told: Explanation) -> Answer:
    name = f"{told.customer}/{told.identifier}"
    url = lineage_url("event", name) if told.event is not None else ""
    return Answer(told, tuple(_box(step) for step in told.steps), url)


def _box(step: Step) -> StepBox:
    return StepBox(
        step,
        step.name.replace("_", " ").capitalize(),
        moment_html(step.at) if step.at else "",
        object_url(step.subject) if step.subject is not None else "",
    )
