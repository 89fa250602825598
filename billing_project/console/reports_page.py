"""The pages of the reports: a list of them, each for a month, and the postings behind a figure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_safe
from unfold.widgets import UnfoldAdminSelectWidget

from billing_project.console.charts import bars, chart_options
from billing_project.console.navigation import may_read
from billing_project.kernel.backoffice.display import money_text, object_url
from billing_project.kernel.money import Money
from revrec.api.reports import table_csv
from revrec.models import AccountingPeriod, LedgerAccount, PerformanceObligation, Posting
from revrec.reporting import Drill, Figure, Row, Table
from revrec.selectors.tables import REPORTS, Report, drill_total, postings_behind

_MOST_POSTINGS = 200  # Shown behind one figure; the API pages through all.
_MOST_BARS = 15
_SUMMED = {  # Reports of which a sum of all rows says something.
    "trial_balance", "functional_trial_balance", "waterfall", "opening_liability_revenue",
    "prior_period_revenue", "rpo", "disaggregation", "deferred_by_expiry", "unbilled",
    "receivable_ageing", "breakage_by_cohort", "recognised_billed_cash", "revenue_by_customer",
    "revenue_by_contract",
    "revenue_by_product",
}  # fmt: skip


class MonthForm(forms.Form):
    """Which month."""

    period = forms.ChoiceField(label="Month", widget=UnfoldAdminSelectWidget)


@dataclass(frozen=True)
class Cell:
    """One figure as the table shows it."""

    text: str
    url: str


@dataclass(frozen=True)
class Line:
    """One row as the table shows it."""

    labels: tuple[str, ...]
    currency: str
    cells: tuple[Cell, ...]
    customer_url: str


@require_safe
def reports_page(request: HttpRequest) -> HttpResponse:
    """List all reports."""
    if not may_read(request):
        raise PermissionDenied
    reports = [(report, _url(report)) for report in REPORTS.values()]
    context = {**admin.site.each_context(request), "title": "Reports", "reports": reports}
    return TemplateResponse(request, "console/reports.html", context)


@require_safe
def report_page(request: HttpRequest, name: str) -> HttpResponse:
    """Show a report of a month; of one figure the postings behind it."""
    if not may_read(request):
        raise PermissionDenied
    report = REPORTS.get(name)
    if report is None:
        raise Http404(f"no report {name}")
    periods = list(AccountingPeriod.objects.order_by("-start_on"))
    asked = request.GET.get("period", "")
    period = next((one for one in periods if str(one) == asked), periods[0] if periods else None)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": report.title,
        "report": report,
        "period": period,
    }
    if period is None:
        return TemplateResponse(request, "console/report.html", context)
    table = report.build(period)
    if request.GET.get("format") == "csv":
        return table_csv(f"{report.name}-{period}.csv", table)
    form = MonthForm(initial={"period": str(period)})
    form.fields["period"].choices = [(str(one), f"{one}, {one.status}") for one in periods]  # type: ignore[attr-defined]
    context |= {"form": form, "csv_url": _url(report, period=period, format="csv")}
    context |= _shown(report, table, period)
    if found := _figure(table, request.GET.get("row", ""), request.GET.get("column", "")):
        context["behind"] = _behind(*found, request.GET["column"])
    return TemplateResponse(request, "console/report.html", context)


def _shown(report: Report, table: Table, period: AccountingPeriod) -> dict[str, Any]:
    return {
        "label_names": [_words(name) for name in table.label_names],
        "figure_names": [_words(name) for name in table.figure_names],
        "lines": [_line(report, table, row, period) for row in table.rows],
        "totals": _totals(table) if report.name in _SUMMED else [],
        "notes": table.notes,
        "charts": _charts(report, table),
        "chart_options": chart_options(is_stacked=False),
    }


def _totals(table: Table) -> list[tuple[str, list[str]]]:
    """Add up the rows of each currency that has several."""
    by_currency: dict[str, list[Row]] = defaultdict(list)
    for row in table.rows:
        by_currency[row.currency].append(row)
    return [
        (
            currency,
            [
                _sum_text([row.figures[name] for row in rows], currency)
                for name in table.figure_names
            ],
        )
        for currency, rows in sorted(by_currency.items())
        if len(rows) > 1
    ]


def _sum_text(figures: Sequence[Figure], currency: str) -> str:
    """Add figures up; where one says something instead of its amount, so does the sum."""
    if instead := next((one.instead for one in figures if one.instead), ""):
        return instead
    return _plain_money(sum(one.amount_minor for one in figures), currency)


def _line(report: Report, table: Table, row: Row, period: AccountingPeriod) -> Line:
    cells = (
        Cell(
            figure.instead or _plain_money(figure.amount_minor, row.currency),
            _url(report, period=period, row=row.key, column=name)
            if figure.drill and figure.amount_minor
            else "",
        )
        for name, figure in row.figures.items()
    )
    customer_url = ""
    if row.customer_id is not None:
        customer_url = reverse("admin:metering_customer_change", args=[row.customer_id])
    return Line(tuple(row.labels.values()), row.currency, tuple(cells), customer_url)


def _charts(report: Report, table: Table) -> list[tuple[str, str]]:
    """Draw the figures that a report names, a picture for each currency."""
    if not report.chart:
        return []
    by_currency: dict[str, list[Row]] = defaultdict(list)
    for row in table.rows:
        by_currency[row.currency].append(row)
    return [
        (
            currency,
            bars(
                [row.labels[report.chart_label] for row in rows[:_MOST_BARS]],
                [
                    (
                        _words(name),
                        [
                            Money(row.figures[name].amount_minor, currency).decimal
                            for row in rows[:_MOST_BARS]
                        ],
                    )
                    for name in report.chart
                ],
            ),
        )
        for currency, rows in sorted(by_currency.items())
    ]


def _figure(table: Table, key: str, column: str) -> tuple[Row, Figure] | None:
    row = next((row for row in table.rows if row.key == key), None)
    figure = row.figures.get(column) if row else None
    return (row, figure) if row and figure and figure.drill else None


def _behind(row: Row, figure: Figure, column: str) -> dict[str, Any]:
    """List the postings of a figure with their sum, which is the figure."""
    drill = figure.drill
    assert drill is not None, "only figures with postings are asked for"
    postings = list(postings_behind(drill)[: _MOST_POSTINGS + 1])
    return {
        "title": ", ".join([*row.labels.values(), _words(column)]),
        "amount": money_text(figure.amount_minor, row.currency),
        "total": money_text(drill_total(drill), row.currency),
        "is_turned": drill.sign < 0,
        "rows": [_posting(posting, drill.in_books) for posting in postings[:_MOST_POSTINGS]],
        "is_cut": len(postings) > _MOST_POSTINGS,
        "count": _count(drill),
    }


def _count(drill: Drill) -> str:
    return f"{Posting.objects.filter(**drill.where).count():,}"


def _posting(posting: Posting, in_books: bool) -> dict[str, Any]:
    obligation: PerformanceObligation | None = posting.obligation
    account: LedgerAccount = posting.account
    return {
        "entry": str(posting.entry),
        "entry_url": object_url(posting.entry),
        "effective_on": posting.entry.effective_on,
        "account": str(account),
        "description": posting.entry.description,
        "customer": posting.customer.external_id if posting.customer else "",
        "customer_url": object_url(posting.customer) if posting.customer else "",
        "promise_url": object_url(obligation) if obligation else "",
        "promise": str(obligation or ""),
        "service": _span(posting),
        "amount": money_text(posting.worth_minor, posting.worth_currency)
        if in_books
        else money_text(posting.amount_minor, posting.currency),
    }


def _span(posting: Posting) -> str:
    start, end = posting.service_start_on, posting.service_end_on
    if start is None or end is None:
        return ""
    return f"{start}" if (end - start).days == 1 else f"{start} to {end}, exclusive"


def _url(report: Report, **query: object) -> str:
    address = reverse("console:report", args=[report.name])
    return f"{address}?{urlencode(query)}" if query else address


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _plain_money(amount_minor: int, currency: str) -> str:
    return f"{Money(amount_minor, currency).decimal:,f}" if amount_minor else "-"
