"""The page of the raw events behind one usage window: what each adds, a page at a time."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from billing_project.console.navigation import lineage_url, may_read
from billing_project.kernel.backoffice.display import moment_text, number_text, object_url
from billing_project.kernel.errors import BillingError
from metering.models import UsageWindow
from metering.selectors.window_events import CountedEvent, Key, page_of_window

SHOWN = 100


@dataclass(frozen=True)
class Row:
    """One event as the table shows it."""

    name: str
    url: str
    at: str
    value: str
    quantity: str
    is_adjusted: bool


@require_safe
def window_events_page(request: HttpRequest, window_id: int) -> HttpResponse:
    """List the events that count in a window, by time."""
    if not may_read(request):
        raise PermissionDenied
    windows = UsageWindow.objects.select_related("meter", "customer")
    window = windows.filter(pk=min(window_id, 2**63 - 1)).first()
    if window is None:
        raise Http404
    context = {**admin.site.each_context(request), "title": "Events of a usage window"}
    context |= {"window": window, "window_url": object_url(window)}
    context["quantity"] = f"{number_text(window.quantity)} {window.meter.unit}"
    try:
        after = Key.of(request.GET.get("after", ""))
        events, following = page_of_window(window, after=after, limit=SHOWN)
    except BillingError as error:
        return TemplateResponse(
            request, "console/window_events.html", {**context, "problem": error.message}
        )
    context["rows"] = [_row(window, event) for event in events]
    context["is_first"] = after is None
    if following:
        context["next_url"] = f"{request.path}?{urlencode({'after': following.cursor})}"
    return TemplateResponse(request, "console/window_events.html", context)


def window_events_url(window_id: int) -> str:
    """Return the address of a window's events."""
    return reverse("console:window_events", args=[window_id])


def _row(window: UsageWindow, event: CountedEvent) -> Row:
    name = f"{window.customer.external_id}/{event.identifier}"
    quantity = "-" if event.quantity is None else number_text(event.quantity)
    url, at = lineage_url("event", name), moment_text(event.key.at)
    return Row(event.identifier, url, at, event.value, quantity, event.is_adjusted)
