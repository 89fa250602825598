"""The page that previews a backfill: at once where it is small, else by the worker."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import object_url, progress_html
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import User
from invoicing.admin.backfill_effect import shown_effect
from invoicing.admin.backfill_parts import run_words
from invoicing.services.backfill_work import ring_worker
from invoicing.services.backfills import preview_backfill
from metering.models import Backfill, BackfillWork
from metering.selectors.backfills import PREVIEWED_AT_ONCE, is_large, newest_preview
from metering.services.backfill_runs import open_run, start_work

REFRESH_SECONDS = 2


def preview_page(
    pages: ReadOnlyAdmin, request: HttpRequest, backfill: Backfill, by: User
) -> HttpResponse:
    """Show what a backfill would change, or how far the worker is; a POST asks the worker."""
    about: dict[str, Any] = {"is_large": is_large(backfill)}
    try:
        if request.method == "POST":
            start_work(backfill=backfill, kind=BackfillWork.PREVIEW, by=by, at=now())
            ring_worker()
            return HttpResponseRedirect(request.path)
        about |= _by_worker(backfill) if about["is_large"] else _at_once(backfill, by)
    except BillingError as error:
        about["refusal"] = error.message
    response = TemplateResponse(
        request,
        "backoffice/backfill_preview.html",
        {
            **pages.admin_site.each_context(request),
            **about,
            "opts": pages.opts,
            "title": "Preview",
            "subtitle": str(backfill),
            "subject_url": object_url(backfill),
            "most": PREVIEWED_AT_ONCE,
        },
    )
    if "bar" in about:
        response["Refresh"] = str(REFRESH_SECONDS)
    return response


def _at_once(backfill: Backfill, by: User) -> dict[str, Any]:
    return shown_effect(preview_backfill(backfill=backfill, by=by, at=now()).effect())


def _by_worker(backfill: Backfill) -> dict[str, Any]:
    """Return how far the worker is with what was asked last, or what its last preview found."""
    run = open_run(backfill)
    if run is not None:
        return {"bar": progress_html(run.percent), "words": f"{run.kind}: {run_words(run)}"}
    last = backfill.runs.filter(kind=BackfillWork.PREVIEW).first()
    shown: dict[str, Any] = {"refusal": last.fault} if last and last.fault else {}
    done = newest_preview(backfill)
    if done is not None and done.effect is not None:
        shown |= {**shown_effect(done.effect), "as_of": done.finished_at}
    return shown
