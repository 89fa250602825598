"""The page of completeness: recorded = covered + billed + left out for a reason, by period."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_safe
from unfold.widgets import UnfoldAdminTextInputWidget

from billing_project.console.navigation import may_read
from billing_project.kernel.backoffice.display import number_text, object_url
from billing_project.kernel.backoffice.related import list_url
from billing_project.kernel.clock import now
from billing_project.kernel.exporting import FORMATS, Column, pieces
from billing_project.kernel.period import Period, midnight, month_of
from billing_project.kernel.quantity import plain
from credits.models import BillingPeriod, RatedUsage
from invoicing.completeness import Account, account_of
from invoicing.models import Invoice
from invoicing.selectors.completeness import (
    PeriodFigures,
    figures_of,
    periods_within,
    windows_outside,
)
from metering.admin.fields import customer_field
from metering.models import Customer

_PAGE = 50
_RUNS = timedelta(minutes=30)  # What ended longer ago, a run has seen.
_COLUMNS = (
    "customer", "period_start", "period_end", "unit", "windows_recorded", "windows_rated",
    "windows_left_out", "credits_charged", "credits_covered", "credits_billed", "credits_left_out",
    "reasons", "windows_unexplained", "credits_unexplained",
)  # fmt: skip


class MonthForm(forms.Form):
    """Which billing periods: those that touch a month, of one customer or of all."""

    month = forms.RegexField(
        r"^\d{4}-\d\d\Z",
        label="Month (UTC)",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "2026-11"}),
        error_messages={"invalid": "Write a month as 2026-11."},
    )
    customer = customer_field(required=False)

    def clean_month(self) -> Period:
        """Return the month's instants."""
        try:
            first = date.fromisoformat(f"{self.cleaned_data['month']}-01")
            start, end = month_of(first)
        except (ValueError, OverflowError) as error:
            raise forms.ValidationError("There is no such month.") from error
        return Period(midnight(start, "UTC"), midnight(end, "UTC"))


@dataclass(frozen=True)
class Row:
    """One billing period as the table shows it."""

    customer: str
    customer_url: str
    period: str
    period_url: str
    usage_url: str
    invoices_url: str
    unit: str
    recorded: str
    rated: str
    charged: str
    covered: str
    billed: str
    left: tuple[tuple[str, str], ...]  # How much of what, why.
    is_complete: bool
    unexplained: tuple[str, ...]


@require_safe
def completeness_page(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Show the periods of a month; with `format=csv` all of them as a file."""
    if not may_read(request):
        raise PermissionDenied
    at = now()
    said = request.GET if "month" in request.GET else None
    form = MonthForm(said or {"month": f"{at.astimezone(UTC):%Y-%m}"})
    context: dict[str, Any] = {
        **admin.site.each_context(request), "title": "Completeness", "form": form,
        "media": form.media,
    }  # fmt: skip
    if form.is_valid():
        month, customer = form.cleaned_data["month"], form.cleaned_data["customer"]
        if request.GET.get("format") == "csv":
            return _file(month, customer, at)
        context |= _shown(request, month, customer, at)
    return TemplateResponse(request, "console/completeness.html", context)


def _shown(
    request: HttpRequest, month: Period, customer: Customer | None, at: datetime
) -> dict[str, Any]:
    pages = Paginator(periods_within(month.start, month.end, customer), _PAGE)
    page = pages.get_page(request.GET.get("page"))
    accounts = [(found, _account(found, at)) for found in figures_of(list(page.object_list))]
    customers = {found.period.customer_id: found.period.customer for found, _ in accounts}
    if customer is not None:
        customers[customer.pk] = customer
    outside = windows_outside(list(customers), month.start, month.end)
    link = {"month": f"{month.start:%Y-%m}", "customer": customer.external_id if customer else ""}
    address = reverse("console:completeness")
    return {
        "rows": [_row(found, account) for found, account in accounts],
        "page": page,
        "page_url": f"{address}?{urlencode(link)}&page=",
        "csv_url": f"{address}?{urlencode({**link, 'format': 'csv'})}",
        "unexplained": sum(not account.is_complete for _, account in accounts),
        "outside": [
            (customers[pk].external_id, object_url(customers[pk]), _windows(count))
            for pk, count in outside.items()
        ],
        "unrated_url": reverse("console:unrated"),
        "books_url": reverse("console:books"),
    }


def _account(found: PeriodFigures, at: datetime) -> Account:
    return account_of(found.figures, at, at - _RUNS)


def _row(found: PeriodFigures, account: Account) -> Row:
    period, figures = found.period, found.figures
    of_period = {"billing_period__id__exact": period.pk}
    return Row(
        customer=period.customer.external_id,
        customer_url=object_url(period.customer),
        period=str(period),
        period_url=object_url(period),
        usage_url=list_url(RatedUsage, of_period),
        invoices_url=list_url(Invoice, {"customer__id__exact": period.customer_id}),
        unit=_unit(period),
        recorded=number_text(Decimal(figures.recorded)),
        rated=number_text(Decimal(figures.rated)),
        charged=number_text(figures.charged),
        covered=number_text(figures.covered),
        billed=number_text(figures.billed),
        left=tuple(_left(found, account)),
        is_complete=account.is_complete,
        unexplained=tuple(_unexplained(found, account)),
    )


def _left(found: PeriodFigures, account: Account) -> Iterator[tuple[str, str]]:
    for cause, count in found.figures.unrated.items():
        yield _windows(count), cause.value
    for left in account.left:
        yield f"{number_text(left.credits)} {_unit(found.period)}", left.cause.value


def _unexplained(found: PeriodFigures, account: Account) -> Iterator[str]:
    if count := account.unexplained_windows:
        yield _windows(count)
    if account.unexplained_credits:
        yield f"{number_text(account.unexplained_credits)} {_unit(found.period)}"


def _windows(count: int) -> str:
    return f"{number_text(Decimal(count))} usage window{'' if count == 1 else 's'}"


def _unit(period: BillingPeriod) -> str:
    return period.rate_card.pricing_unit.code


def _file(month: Period, customer: Customer | None, at: datetime) -> StreamingHttpResponse:
    columns = [Column(name) for name in _COLUMNS]
    body = pieces("csv", columns, _file_rows(month, customer, at))
    response = StreamingHttpResponse(body, content_type=FORMATS["csv"])
    name = f"completeness-{month.start:%Y-%m}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _file_rows(month: Period, customer: Customer | None, at: datetime) -> Iterator[dict[str, Any]]:
    pages = Paginator(periods_within(month.start, month.end, customer), _PAGE)
    for page in pages:
        for found in figures_of(list(page.object_list)):
            yield _file_row(found, _account(found, at))


def _file_row(found: PeriodFigures, account: Account) -> dict[str, Any]:
    period, figures = found.period, found.figures
    reasons = Counter(figures.unrated)
    return {
        "customer": period.customer.external_id,
        "period_start": period.start_at,
        "period_end": period.end_at,
        "unit": _unit(period),
        "windows_recorded": figures.recorded,
        "windows_rated": figures.rated,
        "windows_left_out": reasons.total(),
        "credits_charged": plain(figures.charged),
        "credits_covered": plain(figures.covered),
        "credits_billed": plain(figures.billed),
        "credits_left_out": plain(sum((left.credits for left in account.left), Decimal(0))),
        "reasons": "; ".join(f"{much}: {why}" for much, why in _left(found, account)),
        "windows_unexplained": account.unexplained_windows,
        "credits_unexplained": plain(account.unexplained_credits),
    }
