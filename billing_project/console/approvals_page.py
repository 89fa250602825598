"""The inbox of decisions: what waits for a second person, whoever asked for it."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from billing_project.console.approvals import approvals_of
from billing_project.console.navigation import may_read
from billing_project.console.waiting import age_text
from billing_project.kernel.backoffice.display import moment_text
from billing_project.kernel.backoffice.related import list_url
from billing_project.kernel.clock import now
from billing_project.kernel.models import PolicyChange, User


@require_safe
def approvals_page(request: HttpRequest) -> HttpResponse:
    """List what waits, what the person can decide on first."""
    if not may_read(request):
        raise PermissionDenied
    assert isinstance(request.user, User)
    at = now()
    found, more = approvals_of(request.user)
    return TemplateResponse(
        request,
        "console/approvals.html",
        {
            **admin.site.each_context(request),
            "title": "Approvals",
            "rows": [
                {"row": row, "age": age_text(row.since, at), "since": moment_text(row.since)}
                for row in found
            ],
            "own_count": sum(not row.refusal for row in found),
            "more": more,
            "all_url": list_url(PolicyChange, {"status__exact": "submitted"}),
            "history_url": list_url(PolicyChange, {}),
        },
    )
