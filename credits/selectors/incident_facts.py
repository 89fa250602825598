"""What an evidence pack says of an incident: the rows behind it, and what they come to."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, Q, Sum

from billing_project.kernel.canonical import canonical_json
from billing_project.kernel.models import AuditEntry
from billing_project.kernel.period import Period, hour_of
from billing_project.kernel.quantity import plain
from credits.models import Authorization, Incident, LedgerTransaction, RatedUsage
from metering.models import Customer, MeterEvent

MOST_ROWS = 20_000  # Of a table; more are counted and named.
_BEFORE = timedelta(hours=24)
_UNIT = "billing_period__rate_card__pricing_unit__code"  # Of rated usage.


@dataclass(frozen=True)
class Rows:
    """One file of a pack: its head, its rows as text, and whether there are more."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_cut: bool = False


@dataclass(frozen=True)
class Facts:
    """What the report tells; numbers are text."""

    calls: int
    models: tuple[tuple[str, str, str], ...]  # Model, unit, credits; the most first.
    credits: tuple[tuple[str, str], ...]  # By kind of credits, of the full hours.
    before: tuple[tuple[str, str], ...]  # Balance at the start, by kind of credits.
    after: tuple[tuple[str, str], ...]
    repeated: int  # Calls of the most frequent content.
    refused: tuple[tuple[str, int], ...]  # Reason, requests.


def facts_of(incident: Incident) -> Facts:
    """Sum up what happened in an incident's span."""
    span, customer = Period(incident.start_at, incident.end_at), incident.customer
    events = _events(customer, span)
    used = _used(customer, span).values_list("window__dimensions__model", _UNIT)
    models = sorted(used.order_by().annotate(Sum("charge")), key=lambda one: (one[1], -one[2]))
    by_unit: dict[str, Decimal] = defaultdict(Decimal)
    for _, unit, charge in models:
        by_unit[unit] += charge
    same = events.order_by().values("customer_id", "properties").annotate(calls=Count("id"))
    refused = (
        _asked(customer, span).filter(is_allowed=False).order_by().values_list("reason")
    ).annotate(Count("id"))
    return Facts(
        calls=events.count(),
        models=tuple((str(name or "-"), unit, plain(charge)) for name, unit, charge in models),
        credits=tuple((unit, plain(charge)) for unit, charge in by_unit.items()),
        before=_balances(customer, span.start),
        after=_balances(customer, span.end),
        repeated=max((row["calls"] for row in same.order_by("-calls")[:1]), default=0),
        refused=tuple(sorted(refused)),
    )


def files_of(incident: Incident) -> list[Rows]:
    """Read the rows behind an incident, file by file."""
    span, customer = Period(incident.start_at, incident.end_at), incident.customer
    around = Period(hour_of(span.start - _BEFORE), span.end)
    return [
        _file("events", _events(customer, span).order_by("timestamp", "id"), _EVENT),
        _file(
            "rated_usage",
            _used(customer, around)
            .select_related("window__meter", "window__workspace", "customer")
            .annotate(unit=F(_UNIT))
            .order_by("service_at", "id"),
            _RATED,
        ),
        _file(
            "ledger",
            _ledger(customer)
            .filter(effective_at__gte=span.start, effective_at__lt=span.end)
            .select_related("customer", "grant__pricing_unit")
            .order_by("effective_at", "id"),
            _LEDGER,
        ),
        _file(
            "authorizations",
            _asked(customer, span).select_related("customer").order_by("decided_at", "id"),
            _ASKED,
        ),
        _file("actions", incident.actions.select_related("by").order_by("id"), _ACTION),
        _file("audit", _audited(incident).select_related("by").order_by("id"), _AUDIT),
    ]


def _file(name: str, found: Any, columns: dict[str, Any]) -> Rows:
    rows = list(found[: MOST_ROWS + 1])
    cells = tuple(tuple(read(row) for read in columns.values()) for row in rows[:MOST_ROWS])
    return Rows(f"{name}.csv", tuple(columns), cells, len(rows) > MOST_ROWS)


def _events(customer: Customer | None, span: Period) -> Any:
    rows = MeterEvent.objects.filter(timestamp__gte=span.start, timestamp__lt=span.end)
    rows = rows.select_related("customer", "workspace")
    return rows.filter(customer=customer) if customer else rows


def _used(customer: Customer | None, span: Period) -> Any:
    rows = RatedUsage.objects.filter(service_at__gte=hour_of(span.start), service_at__lt=span.end)
    return rows.filter(customer=customer) if customer else rows


def _ledger(customer: Customer | None) -> Any:
    rows = LedgerTransaction.objects.all()
    return rows.filter(customer=customer) if customer else rows


def _asked(customer: Customer | None, span: Period) -> Any:
    rows = Authorization.objects.filter(decided_at__gte=span.start, decided_at__lt=span.end)
    return rows.filter(customer=customer) if customer else rows


def _audited(incident: Incident) -> Any:
    about = Q(subject=f"incident:{incident.pk}")
    if incident.anomaly_id:
        about |= Q(subject=f"anomaly:{incident.anomaly_id}")
    return AuditEntry.objects.filter(about)


def _balances(customer: Customer | None, at: datetime) -> tuple[tuple[str, str], ...]:
    """Return what was left of grants by kind, by what took effect before an instant."""
    if customer is None:
        return ()
    rows: Iterable[tuple[str, Decimal]] = (
        _ledger(customer)
        .filter(effective_at__lt=at)
        .order_by("grant__pricing_unit__code")
        .values_list("grant__pricing_unit__code")
        .annotate(Sum("credits"))
    )
    return tuple((unit, plain(amount)) for unit, amount in rows)


def _instant(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat() if at else ""


_EVENT = {
    "identifier": lambda e: e.identifier,
    "customer": lambda e: e.customer.external_id,
    "workspace": lambda e: e.workspace.external_id if e.workspace else "",
    "event_name": lambda e: e.event_name,
    "timestamp": lambda e: _instant(e.timestamp),
    "received_at": lambda e: _instant(e.received_at),
    "properties": lambda e: canonical_json(e.properties),
}
_RATED = {
    "hour": lambda r: _instant(r.service_at),
    "customer": lambda r: r.customer.external_id,
    "workspace": lambda r: r.window.workspace.external_id if r.window.workspace else "",
    "meter": lambda r: r.window.meter.code,
    "dimensions": lambda r: canonical_json(r.window.dimensions),
    "quantity": lambda r: plain(r.quantity),
    "unit": lambda r: r.unit,
    "charge": lambda r: plain(r.charge),
    "drawn": lambda r: plain(r.drawn),
    "overage": lambda r: plain(r.overage),
    "source_key": lambda r: r.source_key,
}
_LEDGER = {
    "effective_at": lambda t: _instant(t.effective_at),
    "customer": lambda t: t.customer.external_id,
    "kind": lambda t: t.kind,
    "grant": lambda t: str(t.grant_id),
    "credits": lambda t: plain(t.credits),
    "unit": lambda t: t.grant.pricing_unit.code,
    "source_key": lambda t: t.source_key,
}
_ASKED = {
    "decided_at": lambda a: _instant(a.decided_at),
    "customer": lambda a: a.customer.external_id,
    "model": lambda a: a.model,
    "job": lambda a: a.job,
    "request": lambda a: a.request,
    "credits": lambda a: plain(a.credits),
    "is_allowed": lambda a: str(a.is_allowed).lower(),
    "reason": lambda a: a.reason,
}
_ACTION = {
    "at": lambda a: _instant(a.at),
    "by": lambda a: a.by.username,
    "what": lambda a: a.what,
}
_AUDIT = {
    "at": lambda a: _instant(a.at),
    "by": lambda a: a.by.username,
    "action": lambda a: a.action,
    "subject": lambda a: a.subject,
    "reason": lambda a: a.reason,
}
