"""What a customer's page shows under the fields: grants, usage, margin, controls and alerts."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import TruncDate
from django.urls import reverse
from django.utils.http import urlencode

from billing_project.console.charts import chart_data, chart_options, days_until
from billing_project.kernel.backoffice.display import money_text, number_text, object_url
from billing_project.kernel.backoffice.related import list_url
from billing_project.kernel.period import DAY, midnight, month_of
from credits.models import (
    Alert,
    Authorization,
    ControlPolicy,
    Hold,
    Incident,
    IncidentState,
    LimitWindow,
    SpendLimit,
)
from credits.selectors.by_grant import UnitGrants, balance_by_grant
from credits.selectors.remembered import approved_rules
from credits.selectors.spending import LimitUse, limits_now
from credits.supplier_prices import token_kind_of
from invoicing.models import AutoRecharge
from metering.aggregation import ADDITIVE
from metering.models import Customer, UsageWindow
from revrec.selectors.tables.margins import by_month_of

DAYS = 31
MONTHS = 3
MOST_GRANTS, MOST_SERIES, MOST_ALERTS = 20, 12, 6
TOKEN = "token"  # noqa: S105 - a unit


@dataclass(frozen=True)
class Series:
    """What was used of one model and kind of token, or of one meter that has neither."""

    model: str
    kind: str
    unit: str
    days: dict[date, Decimal]

    @property
    def name(self) -> str:
        """How the chart calls it."""
        return ", ".join(part for part in (self.model, self.kind) if part)

    @property
    def total(self) -> Decimal:
        """All days together."""
        return sum(self.days.values(), Decimal(0))


def sections_of(customer: Customer, at: datetime) -> dict[str, Any]:
    """Return the context of the sections; a fixed number of queries."""
    return {
        **_grants(customer, at),
        **_usage(customer, at),
        **_margin(customer, at),
        **_controls(customer, at),
    }


def _grants(customer: Customer, at: datetime) -> dict[str, Any]:
    units = balance_by_grant(customer, at)
    return {
        "grant_units": [_unit(one, at) for one in units],
        "holds_url": list_url(Hold, {"customer__id__exact": customer.pk}),
    }


def _unit(unit: UnitGrants, at: datetime) -> dict[str, Any]:
    return {
        "unit": unit,
        "left": number_text(unit.left),
        "held": number_text(unit.held),
        "beyond": number_text(unit.beyond) if unit.beyond else "",
        "more": max(len(unit.grants) - MOST_GRANTS, 0),
        "rows": [
            {
                "grant": one.grant,
                "url": object_url(one.grant),
                "given": number_text(one.grant.amount),
                "left": number_text(one.left),
                "held": number_text(one.held) if one.held else "-",
                "state": _state(one.grant.effective_at, one.grant.expires_at, at),
            }
            for one in unit.grants[:MOST_GRANTS]
        ],
    }


def _state(effective_at: datetime, expires_at: datetime | None, at: datetime) -> str:
    """Say why a grant cannot be burned now, or ""."""
    if effective_at > at:
        return "ahead"
    return "over" if expires_at is not None and expires_at <= at else ""


def _usage(customer: Customer, at: datetime) -> dict[str, Any]:
    """Draw the last days of the customer's calendar, a picture for each unit."""
    zone = ZoneInfo(customer.time_zone)
    days = days_until(at.astimezone(zone).date(), DAYS)
    series = used_by_kind(customer, days)
    units = sorted({one.unit for one in series}, key=lambda unit: (unit != TOKEN, unit))
    return {
        "usage_days": DAYS,
        "usage_charts": [
            {
                "unit": unit,
                "data": chart_data(_rows(series, unit), days),
                "totals": _totals(series, unit),
            }
            for unit in units
        ],
        "chart_options": chart_options(),
        "usage_url": f"{reverse('console:usage')}?{urlencode({'customer': customer.external_id})}",
    }


def used_by_kind(customer: Customer, days: list[date]) -> list[Series]:
    """Sum what was used on days of the customer's calendar, by model and kind of token."""
    zone = customer.time_zone
    rows = (
        UsageWindow.objects.filter(
            customer=customer,
            meter__aggregation__in=ADDITIVE,
            start_at__gte=midnight(days[0], zone),
            start_at__lt=midnight(days[-1] + DAY, zone),
        )
        .annotate(
            day=TruncDate("start_at", tzinfo=ZoneInfo(zone)),
            model=KeyTextTransform("model", "dimensions"),
            kind=KeyTextTransform("token_kind", "dimensions"),
        )
        .values_list("day", "meter__code", "meter__unit", "model", "kind")
        .annotate(total=Sum("quantity"))
        .order_by("day", "meter__code")
    )
    found: dict[tuple[str, str, str], Series] = {}
    for day, code, unit, model, said, total in rows:
        kind = token_kind_of(code, {"token_kind": said or ""}) if unit == TOKEN else None
        words = kind.value.replace("_", " ") if kind else code if model else ""
        key = (model or code, words, unit)
        one = found.setdefault(key, Series(*key, {}))
        one.days[day] = one.days.get(day, Decimal(0)) + total
    return [one for one in found.values() if one.total]


def _rows(series: list[Series], unit: str) -> Iterator[tuple[date, str, Decimal]]:
    for one in series:
        if one.unit == unit:
            yield from ((day, one.name, quantity) for day, quantity in one.days.items())


def _totals(series: list[Series], unit: str) -> list[tuple[str, str, str]]:
    """Say the same as the picture in figures, the largest first."""
    own = sorted((s for s in series if s.unit == unit), key=lambda s: (-s.total, s.name))
    return [(one.model, one.kind, number_text(one.total)) for one in own[:MOST_SERIES]]


def _margin(customer: Customer, at: datetime) -> dict[str, Any]:
    """Set what was recognised of the last months beside what suppliers charge for the usage."""
    first, end_on = month_of(at.date())
    for _ in range(MONTHS - 1):
        first, _end = month_of(first - timedelta(days=1))
    table = by_month_of(customer, first, end_on)
    return {
        "margin_rows": [
            {
                "month": row.labels["month"],
                "url": f"{reverse('console:report', args=['margin'])}?period={row.labels['month']}",
                "figures": [
                    one.instead or money_text(one.amount_minor, row.currency)
                    for one in row.figures.values()
                ],
                "is_loss": row.figures["margin"].amount_minor < 0
                and not row.figures["margin"].instead,
                "percent": row.labels["margin_percent"],
            }
            for row in sorted(table.rows, key=lambda row: row.labels["month"], reverse=True)
        ],
        "margin_notes": table.notes,
        "margin_months": MONTHS,
    }


def _controls(customer: Customer, at: datetime) -> dict[str, Any]:
    whose = {"customer__id__exact": customer.pk}
    alerts = Alert.objects.filter(customer=customer, acknowledged_at=None, ended_at=None)
    incidents = Incident.objects.filter(customer=customer).exclude(state=IncidentState.RESOLVED)
    recharges = AutoRecharge.objects.filter(customer=customer, ended_at=None)
    policy = approved_rules().controls_of(customer.pk, at)
    limit_form = reverse("admin:credits_spendlimit_new_limit")
    return {
        "limits": [_limit(use) for use in limits_now(customer, at)],
        "control_policy": policy,
        "control_policy_url": object_url(policy) if policy else "",
        "recharges": [
            {
                "url": object_url(one),
                "says": f"below {number_text(one.threshold)} {one.pricing_unit.code}",
            }
            for one in recharges.select_related("pricing_unit")
        ],
        "incidents": [(str(one), object_url(one)) for one in incidents[:MOST_ALERTS]],
        "alerts": [
            {"alert": one, "url": object_url(one), "owner": str(one.owner or "support")}
            for one in alerts.select_related("owner").order_by("raised_at")[:MOST_ALERTS]
        ],
        "alerts_url": list_url(Alert, whose),
        "limits_url": list_url(SpendLimit, whose),
        "decisions_url": list_url(Authorization, whose),
        "controls_url": list_url(ControlPolicy, {}),
        "new_limit_url": f"{limit_form}?{urlencode({'customer': customer.external_id})}",
    }


def _limit(use: LimitUse) -> dict[str, Any]:
    limit, state = use.limit, use.state
    only = [limit.workspace.external_id] if limit.workspace else []
    only += [limit.model, f"job {limit.job}" if limit.job else ""]
    is_each_job = limit.window == LimitWindow.JOB and not limit.job
    percent = 100 if not state.ceiling else min(int(state.used * 100 / state.ceiling), 100)
    return {
        "limit": limit,
        "url": object_url(limit),
        "only": ", ".join(part for part in only if part) or "everything",
        "ceiling": number_text(state.ceiling),
        "used": "" if is_each_job else number_text(state.used),
        "held": number_text(state.held),
        "percent": percent,
    }
