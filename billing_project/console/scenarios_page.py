"""The scenarios page: choose plans, rates and a mix; see margins; attach them to a proposal."""

from datetime import datetime
from decimal import Decimal
from itertools import accumulate
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.console.charts import bars, chart_options
from billing_project.console.navigation import may_read
from billing_project.console.scenarios import COLUMNS, WORDS, Report, Row, compare
from billing_project.kernel.backoffice.display import money_text, number_text, object_url
from billing_project.kernel.backoffice.numbers import TypedDecimalField, TypedIntegerField
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError, Invalid
from billing_project.kernel.evidence import attach_evidence
from billing_project.kernel.models import PolicyChange, PolicyStatus, User
from billing_project.kernel.money import Money
from billing_project.kernel.quantity import NotAQuantity, plain, typed_number
from credits.mixes import BadMix, Mix, Shape, presets, refuse_bad_mix
from metering.admin.fields import customer_field
from metering.models import Customer
from revrec.selectors.scenarios import changes_of, models_in_use, name_of

_MAY_ATTACH = "kernel.propose_policychange"
_OPEN = (PolicyStatus.DRAFT, PolicyStatus.SUBMITTED)
_HUNDRED = Decimal(100)


class ScenarioForm(forms.Form):
    """Under which terms and rates, and a mix of one's own beside low, medium and heavy."""

    plan = forms.ChoiceField(label="Plan", widget=UnfoldAdminSelectWidget)
    beside = forms.ChoiceField(label="Beside it", required=False, widget=UnfoldAdminSelectWidget)
    rates = forms.ChoiceField(label="Rates", required=False, widget=UnfoldAdminSelectWidget)
    customer = customer_field(required=False)
    models = forms.CharField(
        label="Models and weights", max_length=2000, widget=UnfoldAdminTextInputWidget
    )
    calls = TypedIntegerField(
        label="Own mix: calls", required=False, widget=UnfoldAdminIntegerFieldWidget
    )
    megatokens = TypedDecimalField(
        label="Million tokens", required=False, widget=UnfoldAdminDecimalFieldWidget
    )
    output_percent = TypedDecimalField(
        label="Output, % of tokens", required=False, widget=UnfoldAdminDecimalFieldWidget
    )
    cached_percent = TypedDecimalField(
        label="Cached, % of input", required=False, widget=UnfoldAdminDecimalFieldWidget
    )
    shape = forms.ChoiceField(
        label="Shape",
        choices=[(Shape.STEADY.value, "steady"), (Shape.BURST.value, "burst at the end")],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plans = [(str(one.pk), name_of(one)) for one in changes_of("plan")]
        rates = [(str(one.pk), name_of(one)) for one in changes_of("rate_card")]
        for name, choices in {
            "plan": plans,
            "beside": [("", "nothing"), *plans],
            "rates": [("", "in force"), *rates],
        }.items():
            self.fields[name].choices = choices  # type: ignore[attr-defined]

    def clean_models(self) -> tuple[tuple[str, Decimal], ...]:
        """Read "gpt-5.4 30, claude-haiku-4-5 70"; a model without a weight has 1."""
        found = []
        for part in filter(None, map(str.strip, self.cleaned_data["models"].split(","))):
            name, _, weight = part.partition(" ")
            try:
                found.append((name, typed_number(weight.strip() or "1")))
            except NotAQuantity as error:
                raise ValidationError(f"{part}: a weight is a number.") from error
        return tuple(found)

    def clean(self) -> dict[str, Any]:
        """Make the mixes, and refuse what nobody can use."""
        data = super().clean() or {}
        if "models" not in data:
            return data
        mixes = [*presets(data["models"]), *self._own(data)]
        try:
            for mix in mixes:
                refuse_bad_mix(mix)
        except BadMix as error:
            self.add_error(error.field, str(error).capitalize() + ".")
        return {**data, "mixes": mixes}

    def _own(self, data: dict[str, Any]) -> list[Mix]:
        if data.get("megatokens") is None:
            return []
        return [
            Mix(
                name="own",
                calls=data.get("calls") or 0,
                megatokens=data["megatokens"],
                output_percent=data.get("output_percent") or Decimal(0),
                cached_percent=data.get("cached_percent") or Decimal(0),
                models=data["models"],
                shape=Shape(data.get("shape") or Shape.STEADY),
            )
        ]


def scenarios_page(request: HttpRequest) -> HttpResponse:
    """Show what was chosen; a POST attaches just that to a proposal that is open."""
    if not may_read(request):
        raise PermissionDenied
    at = now()
    said = request.GET.dict()
    form = ScenarioForm({**_first_choice(at), **said})
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Scenarios",
        "form": form,
        "media": form.media,
        "has_plans": bool(form.fields["plan"].choices),  # type: ignore[attr-defined]
    }
    if not form.is_valid():
        return TemplateResponse(request, "console/scenarios.html", context)
    try:
        report = _report(form.cleaned_data, at)
    except BillingError as error:
        form.add_error(error.field if error.field in form.fields else None, error.message)
        return TemplateResponse(request, "console/scenarios.html", context)
    if request.method == "POST":
        if not request.user.has_perm(_MAY_ATTACH):
            raise PermissionDenied
        return _attach(request, report, at)
    context.update(_shown(report, form.cleaned_data))
    context["may_attach"] = request.user.has_perm(_MAY_ATTACH)
    return TemplateResponse(request, "console/scenarios.html", context)


def _first_choice(at: datetime) -> dict[str, str]:
    """Choose the newest plan, and the models in use; the dearest package where there are many."""
    plans = changes_of("plan")
    weights = models_in_use(at)
    whole = sum((weight for _, weight in weights), Decimal(0))
    shares = [(name, round(weight * _HUNDRED / whole)) for name, weight in weights[:10]]
    said = ", ".join(f"{name} {share}" for name, share in shares if share)
    return {"plan": str(plans[0].pk) if plans else "", "models": said or "gpt-5.4 1"}


def _report(data: dict[str, Any], at: datetime) -> Report:
    numbers = dict.fromkeys(filter(None, (data["plan"], data["beside"])))
    plans = [PolicyChange.objects.get(pk=number) for number in numbers]
    rates = PolicyChange.objects.get(pk=data["rates"]) if data["rates"] else None
    customer: Customer | None = data["customer"]
    return compare(plans, rates, data["mixes"], customer, at)


def _attach(request: HttpRequest, report: Report, at: datetime) -> HttpResponse:
    assert isinstance(request.user, User)
    asked = request.POST.get("change", "")
    is_number = asked.isascii() and asked.isdecimal() and len(asked) < 19
    change = PolicyChange.objects.filter(pk=asked).first() if is_number else None
    try:
        if change is None:
            raise Invalid("choose a proposal")
        attach_evidence(
            change=change, kind="scenario", document=report.document, by=request.user, at=at
        )
    except BillingError as error:
        messages.error(request, error.message)
        return HttpResponseRedirect(request.get_full_path())
    messages.success(request, f"Attached to {change.title}.")
    return HttpResponseRedirect(object_url(change))


def _shown(report: Report, data: dict[str, Any]) -> dict[str, Any]:
    currency = report.rows[0].terms.worth.currency
    wanted = {data["plan"], data["beside"], data["rates"]} - {""}
    return {
        "columns": [(name, name not in WORDS) for name in COLUMNS],
        "rows": [_row(row) for row in report.rows],
        "currency": currency,
        "basis": report.document.basis,
        "chart": _chart(report),
        "chart_options": chart_options(is_stacked=False),
        "days_chart": _by_day(report.rows),
        "open_changes": PolicyChange.objects.filter(pk__in=wanted, status__in=_OPEN),
    }


def _row(row: Row) -> dict[str, Any]:
    one = row.outcome
    names = dict(zip(COLUMNS, row.cells, strict=True))
    return {
        "cells": [(name, cell, name not in WORDS) for name, cell in names.items()],
        "triggers": list(one.triggers),
        "tone": "bad" if one.margin.amount < 0 else "wait",
        "uncosted": ", ".join(one.workload.uncosted),
        "unrated": ", ".join(one.workload.unrated),
        "lines": [
            (
                line.description,
                number_text(line.quantity),
                line.unit,
                plain(line.unit_price_unrounded),
                money_text(line.amount_minor, row.terms.worth.currency),
            )
            for line in one.lines
            if line.quantity
        ],
    }


def _chart(report: Report) -> str:
    labels = [f"{row.outcome.workload.name}, {row.cells[1]}" for row in report.rows]
    outcomes = [row.outcome for row in report.rows]
    return bars(
        labels,
        [
            ("recognised", [one.margin.revenue for one in outcomes]),
            ("supplier", [one.margin.cost for one in outcomes]),
            ("margin", [one.margin.amount for one in outcomes]),
        ],
    )


def _by_day(rows: tuple[Row, ...]) -> str:
    """Draw what is recognised by the end of each day, for each row of the first plan."""
    first = [row for row in rows if row.terms.change.pk == rows[0].terms.change.pk]
    days = max(len(row.outcome.revenue_by_day) for row in first)
    series = []
    for row in first:
        currency = row.terms.worth.currency
        totals = accumulate(row.outcome.revenue_by_day)
        reached = [Money(total, currency).decimal for total in totals]
        series.append((row.outcome.workload.name, reached))
    return bars([str(day) for day in range(1, days + 1)], series)
