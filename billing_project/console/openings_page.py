"""The page of opening balances: what each import made, held against what its source said."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from billing_project.console.navigation import may_read
from billing_project.kernel.backoffice.display import number_text, object_url
from billing_project.kernel.backoffice.related import Link, offer
from billing_project.kernel.exporting import FORMATS, Column, pieces
from billing_project.kernel.quantity import plain
from invoicing.models import OpeningImport, OpeningState
from invoicing.selectors.opening import Parity, imports, parity_of

_PAGE, _IMPORTS = 100, 50
_COLUMNS = (
    "customer", "what", "unit", "source", "planned", "here", "difference", "is_named", "why",
)  # fmt: skip


@require_safe
def openings_page(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """List imports; show the chosen one's parity, with `format=csv` as a file."""
    if not may_read(request):
        raise PermissionDenied
    context: dict[str, Any] = {
        **admin.site.each_context(request), "title": "Opening balances",
    }  # fmt: skip
    chosen = _chosen(request)
    if chosen is not None:
        found = parity_of(chosen)
        if request.GET.get("format") == "csv":
            return _file(chosen, found)
        context.update(_shown(chosen, found, request.GET.get("page")))
    listed = Paginator(imports(), _IMPORTS).get_page(request.GET.get("imports"))
    context |= {
        "imports": [_line(row) for row in listed.object_list],
        "listed": listed,
        "listed_url": f"{reverse('console:openings')}?imports=",
        "upload_url": reverse("admin:invoicing_openingimport_upload")
        if request.user.has_perm("invoicing.import_openings")
        else "",
    }
    return TemplateResponse(request, "console/openings.html", context)


def _chosen(request: HttpRequest) -> OpeningImport | None:
    text = request.GET.get("import", "")
    if not text:
        return None
    is_id = text.isascii() and text.isdigit() and len(text) < 18
    row = OpeningImport.objects.filter(pk=int(text)).first() if is_id else None
    if row is None:
        raise Http404(f"there is no import {text[:40]}")
    return row


def _line(row: OpeningImport) -> dict[str, Any]:
    change = row.policy_change
    return {
        "name": str(row),
        "url": f"{reverse('console:openings')}?{urlencode({'import': row.pk})}",
        "state": row.state,
        "tone": {"applied": "good", "open": "wait"}.get(row.state, ""),
        "by": str(change.proposed_by),
        "change": change.status,
        "change_url": object_url(change),
    }


def _shown(row: OpeningImport, found: Sequence[Parity], page: str | None) -> dict[str, Any]:
    listed = Paginator(sorted(found, key=lambda one: (one.is_named, not one.difference)), _PAGE)
    shown = listed.get_page(page)
    here = reverse("console:openings")
    return {
        "chosen": row,
        "is_open": row.state == OpeningState.OPEN,
        "import_url": object_url(row),
        "items_url": f"{reverse('admin:invoicing_openingitem_changelist')}"
        f"?{urlencode({'opening_import__id__exact': row.pk})}",
        "csv_url": f"{here}?{urlencode({'import': row.pk, 'format': 'csv'})}",
        "page": shown,
        "page_url": f"{here}?{urlencode({'import': row.pk})}&page=",
        "customers": len({one.customer for one in found}),
        "differing": sum(one.difference != 0 for one in found),
        "unnamed": sum(not one.is_named for one in found),
        "rows": [
            {
                "customer": one.customer,
                "what": f"{one.what} {one.unit}".strip(),
                "source": number_text(one.source),
                "planned": number_text(one.planned),
                "here": number_text(one.here),
                "difference": number_text(one.difference) if one.difference else "",
                "is_named": one.is_named,
                "why": one.why,
            }
            for one in shown.object_list
        ],
    }


def _file(row: OpeningImport, found: Sequence[Parity]) -> StreamingHttpResponse:
    body = pieces("csv", [Column(name) for name in _COLUMNS], _file_rows(found))
    response = StreamingHttpResponse(body, content_type=FORMATS["csv"])
    response["Content-Disposition"] = f'attachment; filename="parity-{row.pk}.csv"'
    return response


def _file_rows(found: Sequence[Parity]) -> Iterator[dict[str, Any]]:
    for one in found:
        yield {
            "customer": one.customer,
            "what": one.what,
            "unit": one.unit,
            "source": plain(one.source),
            "planned": plain(one.planned),
            "here": plain(one.here),
            "difference": plain(one.difference),
            "is_named": one.is_named,
            "why": one.why,
        }


def _parity_of(row: OpeningImport) -> Link:
    url = f"{reverse('console:openings')}?{urlencode({'import': row.pk})}"
    return Link("Parity with the source", url, "balance")


offer(OpeningImport, _parity_of)
