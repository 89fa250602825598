"""The page of exceptions: what went another way than it should, whose it is, and for how long."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from billing_project.console.exceptions import exceptions_at, of_owner, owners_of
from billing_project.console.navigation import may_read
from billing_project.console.waiting import age_text
from billing_project.kernel.backoffice.display import moment_text
from billing_project.kernel.clock import now


@require_safe
def exceptions_page(request: HttpRequest) -> HttpResponse:
    """List what is open, of one owner or of all."""
    if not may_read(request):
        raise PermissionDenied
    at = now()
    found = exceptions_at(at)
    owner = request.GET.get("owner", "")
    shown = list(of_owner(found, owner)) if owner else found
    return TemplateResponse(
        request,
        "console/exceptions.html",
        {
            **admin.site.each_context(request),
            "title": "Exceptions",
            "owner": owner,
            "owners": owners_of(found),
            "near_duplicates_url": reverse("console:near_duplicates"),
            "kinds": [
                {
                    "kind": kind,
                    "more": kind.count - len(kind.rows),
                    "rows": [
                        {
                            "row": row,
                            "age": age_text(row.since, at) if row.since else "",
                            "since": moment_text(row.since),
                        }
                        for row in kind.rows
                    ],
                }
                for kind in shown
            ],
        },
    )
