"""The page of near duplicates: what may have been sent twice, its cost, and a way to cancel."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminDateWidget

from billing_project.console.navigation import may_read
from billing_project.console.near_duplicates import CostedCluster, near_duplicate_report
from billing_project.kernel.backoffice.display import moment_html, number_text
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from metering.admin.fields import customer_field
from metering.models import Customer

_MAY_CANCEL = "metering.adjust_meterevent"
DAY = timedelta(days=1)


class SpanForm(forms.Form):
    """Whose reports, on which days."""

    customer = customer_field(required=False)
    first_on = forms.DateField(label="From", widget=UnfoldAdminDateWidget)
    last_on = forms.DateField(label="Until, included", widget=UnfoldAdminDateWidget)

    def span(self) -> tuple[datetime, datetime]:
        """Return the instants of the days, in UTC."""
        data = self.cleaned_data
        return _midnight(data["first_on"]), _midnight(data["last_on"]) + DAY


@dataclass(frozen=True)
class Report:
    """One report of a cluster: its identifier, and where it can be looked at or cancelled."""

    identifier: str
    url: str
    cancel_url: str


@dataclass(frozen=True)
class Row:
    """One cluster as the table shows it."""

    customer: str
    says: str
    first_at: str
    apart: str  # How long from the first to the last.
    count: int
    reports: tuple[Report, ...]
    more: int
    added: tuple[str, ...]
    cost: tuple[str, ...]


def near_duplicates_page(request: HttpRequest) -> HttpResponse:
    """Show what the chosen days hold; today's at first."""
    if not may_read(request):
        raise PermissionDenied
    today = now().astimezone(UTC).date()
    sent = request.GET if "first_on" in request.GET else None
    form = SpanForm(sent, initial={"first_on": today, "last_on": today})
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Near duplicates",
        "form": form,
        "media": form.media,
        "may_cancel": request.user.has_perm(_MAY_CANCEL),
    }
    if form.is_bound and form.is_valid():
        context.update(_found(form.cleaned_data["customer"], *form.span()))
    return TemplateResponse(request, "console/near_duplicates.html", context)


def _found(customer: Customer | None, start: datetime, end: datetime) -> dict[str, Any]:
    try:
        report = near_duplicate_report(customer, start, end)
    except BillingError as error:
        return {"problem": error.message}
    return {
        "report": report,
        "rows": [_row(one) for one in report.clusters],
        "added": _amounts(report.quantities),
        "cost": _amounts(report.cost),
        "unpriced": sum(_is_unpriced(one) for one in report.clusters),
    }


def _row(one: CostedCluster) -> Row:
    cluster = one.cluster
    said = ", ".join(f"{name} {value}" for name, value in cluster.properties.items())
    lasted = cluster.last_at - cluster.first_at
    reports = zip(cluster.event_ids, cluster.identifiers, strict=True)
    return Row(
        customer=cluster.customer,
        says=f"{cluster.event_name}: {said}" if said else cluster.event_name,
        first_at=moment_html(cluster.first_at),
        apart=f"{lasted.days * 86_400 + lasted.seconds}.{lasted.microseconds // 1000:03} s",
        count=cluster.count,
        reports=tuple(_report(pk, identifier) for pk, identifier in reports),
        more=cluster.count - len(cluster.identifiers),
        added=tuple(f"{number_text(a.quantity)} {a.meter}" for a in cluster.added),
        cost=("no rate",) if _is_unpriced(one) else _amounts(one.cost),
    )


def _is_unpriced(one: CostedCluster) -> bool:
    """Tell a cluster whose quantities no rate prices from one that adds nothing."""
    return bool(one.cluster.added) and not one.cost


def _report(pk: int, identifier: str) -> Report:
    return Report(
        identifier,
        reverse("admin:metering_meterevent_change", args=[pk]),
        reverse("admin:metering_meterevent_cancel", args=[pk]),
    )


def _amounts(sums: dict[str, Decimal]) -> tuple[str, ...]:
    return tuple(f"{number_text(amount)} {name}" for name, amount in sums.items())


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
