"""The burn table page: choose a version and one beside it, see margins, take the table along."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_safe
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing_project.console.burn_table import (
    DAYS,
    Cell,
    Line,
    Report,
    first_choice,
    plans_of,
    report_of,
    versions_of,
)
from billing_project.console.charts import bars, chart_options
from billing_project.console.navigation import may_read
from billing_project.kernel.backoffice.display import number_text, object_url
from billing_project.kernel.clock import now
from billing_project.kernel.exporting import FORMATS, Column, pieces
from billing_project.kernel.quantity import plain
from credits.margins import Margin, Mark
from credits.models import RateCard, RateCardVersion
from invoicing.models import PlanVersion

_TONES = {Mark.GOOD: "", Mark.THIN: "wait", Mark.NEGATIVE: "bad"}
_CHART_ROWS = 12


class ChoiceForm(forms.Form):
    """Which rates are looked at, beside which, at which price of a credit."""

    card = forms.ModelChoiceField(
        RateCard.objects.none(), label="Rate card", empty_label=None, widget=UnfoldAdminSelectWidget
    )
    version = forms.ChoiceField(label="Version", widget=UnfoldAdminSelectWidget)
    beside = forms.ChoiceField(label="Beside it", required=False, widget=UnfoldAdminSelectWidget)
    plan = forms.ChoiceField(
        label="Credit valued at", required=False, widget=UnfoldAdminSelectWidget
    )
    model = forms.CharField(label="Model", required=False, widget=UnfoldAdminTextInputWidget)


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what there is to choose from."""

    card: RateCard
    version: RateCardVersion | None
    beside: RateCardVersion | None
    plan: PlanVersion | None
    model: str
    form: ChoiceForm

    @property
    def versions(self) -> list[RateCardVersion]:
        """The versions to compare, the first one first."""
        return [one for one in (self.version, self.beside) if one is not None]


@require_safe
def burn_table_page(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Show the table; with `format=csv` as a file."""
    if not may_read(request):
        raise PermissionDenied
    at = now()
    choice = _choice(request, at)
    context: dict[str, Any] = {**admin.site.each_context(request), "title": "Burn table"}
    if choice is None or choice.version is None:
        return TemplateResponse(request, "console/burn_table.html", context)
    report = report_of(choice.card, choice.versions, choice.plan, at, choice.model)
    if request.GET.get("format") == "csv":
        return _file(report, choice)
    context.update(_shown(report, choice))
    return TemplateResponse(request, "console/burn_table.html", context)


def _choice(request: HttpRequest, at: datetime) -> Choice | None:
    """Read what was asked for; what is not there falls back to the first choice."""
    said = request.GET
    offered = RateCard.objects.select_related("pricing_unit", "base").order_by(
        F("base_id").asc(nulls_first=True), "code"
    )
    cards = list(offered)
    if not cards:
        return None
    card = next((one for one in cards if str(one.pk) == said.get("card")), cards[0])
    is_same = str(card.pk) == said.get("card")
    versions = versions_of(card)
    governing, later = first_choice(card, versions, at)
    by_number = {str(one.number): one for one in versions}
    version = by_number.get(said.get("version", ""), governing) if is_same else governing
    beside = by_number.get(said.get("beside", "")) if is_same and "beside" in said else later
    plans = plans_of(card, at)
    plan = next((p for p in plans if str(p.pk) == said.get("plan")), plans[0] if plans else None)
    form = ChoiceForm(
        initial={
            "card": card.pk,
            "version": version.number if version else "",
            "beside": beside.number if beside and beside != version else "",
            "plan": plan.pk if plan else "",
            "model": said.get("model", ""),
        }
    )
    form.fields["card"].queryset = offered  # type: ignore[attr-defined]
    _offer(form, "version", [(str(one.number), _name(one)) for one in versions])
    _offer(form, "beside", [("", "nothing"), *((str(v.number), _name(v)) for v in versions)])
    _offer(form, "plan", [(str(p.pk), _plan_name(p)) for p in plans] or [("", "no plan")])
    beside = None if beside == version else beside
    return Choice(card, version, beside, plan, said.get("model", "").strip(), form)


def _offer(form: ChoiceForm, name: str, choices: list[tuple[str, str]]) -> None:
    form.fields[name].choices = choices  # type: ignore[attr-defined]


def _name(version: RateCardVersion) -> str:
    change = version.policy_change
    return f"v{version.number}, {change.status}, from {change.effective_at:%Y-%m-%d}"


def _plan_name(plan: PlanVersion) -> str:
    price = plain(plan.overage_price_unrounded)
    return f"{plan.plan.name}: {price} {plan.currency} overage"


def _shown(report: Report, choice: Choice) -> dict[str, Any]:
    value = report.value
    said = {name: str(choice.form.initial[name]) for name in choice.form.fields}
    link = {**said, "format": "csv"}
    return {
        "form": choice.form,
        "media": choice.form.media,
        "card": choice.card,
        "unit": choice.card.pricing_unit.code,
        "currency": value.currency,
        "value_overage": _money(value.overage, 6),
        "value_paid": _money(value.paid, 6),
        "plan": choice.plan,
        "versions": report.versions,
        "rows": [_row(line) for line in report.lines],
        "totals": [_cell_of(total) for total in report.totals],
        "difference": _difference(report),
        "is_cut": report.is_cut,
        "days": DAYS,
        "csv_url": f"{reverse('console:burn_table')}?{urlencode(link)}",
        "chart": _chart(report),
        "chart_options": chart_options(is_stacked=False),
        "card_url": object_url(choice.card),
        "is_missing": any(_lacks(line) for line in report.lines),
    }


def _row(line: Line) -> dict[str, Any]:
    row = line.row
    others = {k: v for k, v in row.dimensions.items() if k not in {"model", "token_kind"}}
    return {
        "model": row.model or "any model",
        "kind": (row.token_kind.replace("_", " ") if row.token_kind else row.meter.code),
        "others": ", ".join(f"{name} {value}" for name, value in sorted(others.items())),
        "per": f"{number_text(line.scale)} {row.meter.unit}{'s' * (line.scale != 1)}",
        "quantity": number_text(row.quantity) if row.is_used else "",
        "supplier": _money(line.supplier, 4),
        "lacks_supplier": line.supplier is None and bool(row.model),
        "cells": [_version_cell(cell, is_used=row.is_used) for cell in line.cells],
    }


def _version_cell(cell: Cell | None, *, is_used: bool) -> dict[str, Any]:
    if cell is None:
        return {"lacks_rate": is_used}
    shown = _cell_of(cell.margin)
    return {
        **shown,
        "credits": number_text(_rounded(cell.credits, 6)),
        "is_average": cell.found.is_average,
        "is_inherited": cell.found.is_inherited,
        "model": cell.found.rate.get_model_display(),
        "revenue": _money(cell.revenue, 4),
        "paid": _percent(cell.paid_margin),
    }


def _cell_of(margin: Margin | None) -> dict[str, str]:
    if margin is None:
        return {"amount": "", "percent": "", "tone": "", "mark": ""}
    return {
        "amount": _money(margin.amount, 4),
        "percent": _percent(margin),
        "tone": _TONES[margin.mark],
        "mark": "" if margin.mark == Mark.GOOD else margin.mark.value,
    }


def _difference(report: Report) -> str:
    if len(report.totals) < 2:
        return ""
    change = report.totals[1].amount - report.totals[0].amount
    return f"{'+' if change > 0 else ''}{_money(change, 2)} {report.value.currency}"


def _lacks(line: Line) -> bool:
    return line.row.is_used and (line.cells[0] is None)


def _chart(report: Report) -> str:
    shown = [line for line in report.lines if line.supplier is not None and any(line.cells)]
    shown = shown[:_CHART_ROWS]
    labels = [f"{line.row.model} {line.row.token_kind or ''}".strip() for line in shown]
    series = [("supplier's price", [line.supplier for line in shown])]
    for index, version in enumerate(report.versions):
        cells = (line.cells[index] for line in shown)
        series.append((f"revenue, v{version.number}", [c.revenue if c else None for c in cells]))
    return bars(labels, series) if shown else ""


def _file(report: Report, choice: Choice) -> StreamingHttpResponse:
    names = ["meter", "model", "dimensions", "per", "unit", "used", "supplier", "supplier_price"]
    for version in report.versions:
        own = ("credits", "revenue", "margin", "margin_percent", "paid_margin_percent")
        names += [f"v{version.number}_{name}" for name in own]
    columns = [Column(name) for name in [*names, "currency"]]
    body = pieces("csv", columns, _file_rows(report))
    response = StreamingHttpResponse(body, content_type=FORMATS["csv"])
    numbers = "-".join(f"v{version.number}" for version in report.versions)
    response["Content-Disposition"] = f'attachment; filename="burn-table-{numbers}.csv"'
    return response


def _file_rows(report: Report) -> Iterator[dict[str, str]]:
    for line in report.lines:
        row = line.row
        cells: dict[str, str] = {}
        for version, cell in zip(report.versions, line.cells, strict=True):
            cells |= _file_cells(f"v{version.number}", cell)
        yield {
            "meter": row.meter.code,
            "model": row.model,
            "dimensions": ", ".join(f"{k} {v}" for k, v in sorted(row.dimensions.items())),
            "per": plain(line.scale),
            "unit": row.meter.unit,
            "used": plain(row.quantity),
            "supplier": row.supplier,
            "supplier_price": _exact(line.supplier),
            **cells,
            "currency": report.value.currency,
        }


def _file_cells(prefix: str, cell: Cell | None) -> dict[str, str]:
    """Write one version's figures; "no rate" where it has none."""
    return {
        f"{prefix}_credits": _exact(cell.credits) if cell else "no rate",
        f"{prefix}_revenue": _exact(cell.revenue) if cell else "",
        f"{prefix}_margin": _exact(cell.margin.amount) if cell and cell.margin else "",
        f"{prefix}_margin_percent": _percent(cell.margin if cell else None).removesuffix(" %"),
        f"{prefix}_paid_margin_percent": _percent(cell.paid_margin if cell else None).removesuffix(
            " %"
        ),
    }


def _exact(value: Decimal | None) -> str:
    return "" if value is None else plain(_rounded(value, 12))


def _percent(margin: Margin | None) -> str:
    if margin is None or margin.percent is None:
        return ""
    return f"{_rounded(margin.percent, 1):f} %"


def _money(value: Decimal | None, decimals: int) -> str:
    """Write an amount with two decimals or more, up to so many."""
    if value is None:
        return ""
    whole, _, fraction = number_text(_rounded(value, decimals)).partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}"


def _rounded(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
