"""A customer's usage by hour, day or month, as the customer's own calendar cuts it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.console.navigation import may_read
from billing_project.kernel.backoffice.display import moment_html, number_text
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.period import DAY, HOUR, Period, hour_of, midnight
from metering.admin.fields import customer_field
from metering.models import Meter
from metering.selectors.lag import aggregation_state
from metering.selectors.usage import Granularity, UsageRow, usage

_MOST_DAYS = {Granularity.HOUR: 31, Granularity.DAY: 366, Granularity.MONTH: 3660}
_BOUNDS = ("first_on", "last_on")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST, _LAST = date(2000, 1, 1), date(2100, 12, 31)
_CHOICES = (("day", "day"), ("month", "month"), ("hour", "hour"))


class UsageForm(forms.Form):
    """Whose usage of what, on which days of the customer's calendar."""

    customer = customer_field()
    meter = forms.ModelChoiceField(
        queryset=Meter.objects.order_by("code"),
        to_field_name="code",
        empty_label=None,
        widget=UnfoldAdminSelectWidget,
    )
    first_on = forms.DateField(label="From", widget=UnfoldAdminDateWidget)
    last_on = forms.DateField(label="Until, included", widget=UnfoldAdminDateWidget)
    by = forms.ChoiceField(label="By", choices=_CHOICES, widget=UnfoldAdminSelectWidget)
    split = forms.CharField(
        label="Split by", max_length=200, required=False, widget=UnfoldAdminTextInputWidget
    )

    def clean_split(self) -> list[str]:
        """Split the names of dimensions."""
        return [name for part in self.cleaned_data["split"].split(",") if (name := part.strip())]

    def clean(self) -> dict[str, Any]:
        """Bound the span, so that a page stays one."""
        data = super().clean() or {}
        if any(not _FIRST <= data[name] <= _LAST for name in _BOUNDS if name in data):
            raise ValidationError(f"Days lie between {_FIRST} and {_LAST}.")
        if data.keys() >= {"first_on", "last_on", "by"}:
            most = _MOST_DAYS[Granularity(data["by"])]
            if not timedelta(0) <= data["last_on"] - data["first_on"] < most * DAY:
                raise ValidationError(f"By {data['by']}, at most {most:,} days are shown.")
        return data


@dataclass(frozen=True)
class Line:
    """One span of the calendar, and what was used in it, in one part of the split."""

    name: str
    start: str
    hours: str
    of: str
    quantity: str
    is_first: bool  # Of its span.
    is_odd: bool  # A day that the clock was moved on.


def usage_page(request: HttpRequest) -> HttpResponse:
    """Show what was asked for; the form alone at first."""
    if not may_read(request):
        raise PermissionDenied
    today = now().astimezone(UTC).date()
    starts = {"customer": request.GET.get("customer"), "first_on": today - 30 * DAY}
    form = UsageForm(
        request.GET if "meter" in request.GET else None, initial={**starts, "last_on": today}
    )
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Usage",
        "form": form,
        "media": form.media,
        "fresh": aggregation_state(now()),  # Before the read: what it promises is in there.
    }
    if form.is_bound and form.is_valid():
        context.update(_found(form.cleaned_data))
    return TemplateResponse(request, "console/usage.html", context)


def _found(asked: dict[str, Any]) -> dict[str, Any]:
    customer, meter, by = asked["customer"], asked["meter"], Granularity(asked["by"])
    start = midnight(asked["first_on"], customer.time_zone)
    end = midnight(asked["last_on"] + DAY, customer.time_zone)
    if by == Granularity.HOUR:  # Hours are UTC's; where days begin inside one, it is shown whole.
        start, end = hour_of(start), -(-(end - _EPOCH) // HOUR) * HOUR + _EPOCH
    try:
        rows = usage(customer, meter, start, end, by, asked["split"])
    except BillingError as error:
        return {"problem": error.message}
    return {
        "found": True,
        "customer": customer,
        "meter": meter,
        "lines": list(_lines(rows, by, Period(start, end), ZoneInfo(customer.time_zone))),
        "total": number_text(_total(rows)) if meter.aggregation in ("sum", "count") else "",
        "is_split": bool(asked["split"]),
    }


def _lines(rows: list[UsageRow], by: Granularity, asked: Period, zone: ZoneInfo) -> Iterator[Line]:
    for begins_at, group in groupby(rows, key=lambda row: row.start_at):
        local = begins_at.astimezone(zone)
        start_at, end_at = max(begins_at, asked.start), min(_end(local, by), asked.end)
        length = end_at - start_at
        for place, row in enumerate(group):
            yield Line(
                name=_name(local, by),
                start=moment_html(start_at),
                hours=f"{length // HOUR} h" if length % HOUR == timedelta(0) else f"{length}",
                of=", ".join(value or "-" for value in row.group.values()),
                quantity=number_text(row.quantity),
                is_first=place == 0,
                is_odd=by == Granularity.DAY and length != DAY,
            )


def _end(local: datetime, by: Granularity) -> datetime:
    """Return when the span ends that begins then."""
    if by == Granularity.HOUR:
        return local.astimezone(UTC) + HOUR
    following = local.date() + DAY if by == Granularity.DAY else _next_month(local.date())
    return midnight(following, str(local.tzinfo))


def _next_month(day: date) -> date:
    return (day.replace(day=28) + 4 * DAY).replace(day=1)


def _name(local: datetime, by: Granularity) -> str:
    shapes = {
        Granularity.HOUR: f"{local:%Y-%m-%d %H:%M} (UTC{local:%z})",
        Granularity.DAY: f"{local:%Y-%m-%d, %A}",
        Granularity.MONTH: f"{local:%Y-%m}",
    }
    return shapes[by]


def _total(rows: list[UsageRow]) -> Decimal:
    return sum((row.quantity for row in rows), Decimal(0))
