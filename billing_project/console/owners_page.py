"""Who answers for each step of the chain: the table of steps and functions, and naming somebody."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminSplitDateTimeWidget

from billing_project.console.navigation import may_read
from billing_project.kernel.backoffice.display import moment_html
from billing_project.kernel.backoffice.forms import ReasonField
from billing_project.kernel.backoffice.related import list_url
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import ChainStep, StepFunction, StepOwner, User
from billing_project.kernel.ownership import Owner, Owners, name_owner, owners_known

_MAY_NAME = "kernel.name_stepowner"
# What each step turns into what.
_DOES = {
    ChainStep.CAPTURE: "reports of apps into meter events",
    ChainStep.AGGREGATE: "meter events into usage windows",
    ChainStep.RATE: "usage into charges, by the rate card",
    ChainStep.DRAW_DOWN: "charges into credits drawn and overage",
    ChainStep.INVOICE: "overage and subscriptions into invoice lines",
    ChainStep.RECOGNISE: "invoice lines and drawdowns into revenue",
}


class OwnerForm(forms.Form):
    """Who answers for which step, for which function, since when and why."""

    step = forms.ChoiceField(choices=ChainStep.choices, widget=UnfoldAdminSelectWidget)
    function = forms.ChoiceField(choices=StepFunction.choices, widget=UnfoldAdminSelectWidget)
    person = forms.ModelChoiceField(
        queryset=User.objects.filter(is_active=True, is_service=False).order_by("username"),
        widget=UnfoldAdminSelectWidget,
    )
    since_at = forms.SplitDateTimeField(label="Since (UTC)", widget=UnfoldAdminSplitDateTimeWidget)
    reason = ReasonField()


@dataclass(frozen=True)
class Cell:
    """Who answers for one step, for one function; "" where nobody is named."""

    function: str
    person: str
    since: str
    has_left: bool
    name_url: str = ""


@dataclass(frozen=True)
class Line:
    """One step of the chain with its owners, in the order of the functions."""

    step: str
    does: str
    cells: tuple[Cell, ...]


def lines_at(owners: Owners, instants: dict[str, datetime], *, may_name: bool) -> list[Line]:
    """Write who answered for each step at its own instant.

    Args:
        instants: By step, in the order to be shown.
        may_name: Whether a cell leads to naming somebody.
    """
    return [
        Line(
            step=ChainStep(step).label,
            does=_DOES[ChainStep(step)],
            cells=tuple(_cell(step, one, may_name) for one in owners.of(step, at)),
        )
        for step, at in instants.items()
    ]


def owners_page(request: HttpRequest) -> HttpResponse:
    """Show who answers for each step now."""
    if not may_read(request):
        raise PermissionDenied
    at = now()
    lines = lines_at(
        owners_known(), dict.fromkeys(ChainStep.values, at), may_name=_may_name(request)
    )
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Owners of the steps",
        "lines": lines,
        "functions": StepFunction.labels,
        "missing": sum(not cell.person for line in lines for cell in line.cells),
        "may_name": _may_name(request),
        "name_url": reverse("console:name_owner"),
        "history_url": list_url(StepOwner, {}),
    }
    return TemplateResponse(request, "console/owners.html", context)


def name_owner_page(request: HttpRequest) -> HttpResponse:
    """Ask for the person, and name them."""
    if not may_read(request) or not _may_name(request):
        raise PermissionDenied
    start = {"since_at": now(), **request.GET.dict()}
    form = OwnerForm(request.POST if request.method == "POST" else None, initial=start)
    if form.is_bound and form.is_valid() and _named(request, form):
        return HttpResponseRedirect(reverse("console:owners"))
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Name the owner",
        "form": form,
        "media": form.media,
        "back_url": reverse("console:owners"),
    }
    status = 422 if form.is_bound else 200
    return TemplateResponse(request, "console/name_owner.html", context, status=status)


def _named(request: HttpRequest, form: OwnerForm) -> bool:
    assert isinstance(request.user, User)
    try:
        row = name_owner(**form.cleaned_data, by=request.user, at=now())
    except BillingError as error:
        form.add_error(error.field if error.field in form.fields else None, error.message)
        return False
    messages.success(request, f"Named: {row}.")
    return True


def _may_name(request: HttpRequest) -> bool:
    return bool(request.user.has_perm(_MAY_NAME))


def _cell(step: str, one: Owner, may_name: bool) -> Cell:
    query = urlencode({"step": step, "function": one.function})
    return Cell(
        function=one.function,
        person=one.person or "",
        since=moment_html(one.since_at) if one.since_at else "",
        has_left=one.has_left,
        name_url=f"{reverse('console:name_owner')}?{query}" if may_name else "",
    )
