"""The page that proves the books: each check of `check_books`, with what it found."""

import time
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods

from billing_project.console.figures import last_check
from billing_project.console.navigation import may_read
from billing_project.kernel import audit
from billing_project.kernel.books import Result, run_checks
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from revrec.selectors.seals import last_seal
from revrec.services.anchoring import older_state


@require_http_methods(["GET", "POST"])
def books_page(request: HttpRequest) -> HttpResponse:
    """Show what the checks are; POST runs them and keeps who ran them, when, and the result."""
    if not may_read(request):
        raise PermissionDenied
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Books",
        "last_check": last_check(),
        "seal": last_seal(),
        "older_state": older_state(),
    }
    if request.method == "POST" and isinstance(request.user, User):
        context.update(_run(request.user))
    return TemplateResponse(request, "console/books.html", context)


def _run(user: User) -> dict[str, Any]:
    started = time.monotonic()
    results = run_checks()
    finding_count = _count(results)
    audit.record(
        by=user,
        at=now(),
        action="check_books",
        subject=user,
        checks=len(results),
        findings=finding_count,
    )
    return {
        "results": sorted(results, key=lambda result: not result.findings),
        "finding_count": finding_count,
        "seconds": f"{time.monotonic() - started:.1f}",
    }


def _count(results: list[Result]) -> int:
    return sum(len(result.findings) for result in results)
