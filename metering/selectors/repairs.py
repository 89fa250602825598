"""Repairs of windows as the content that was proposed and approved, and what they change."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from billing_project.kernel.approvals import content_of
from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange, PolicyStatus
from billing_project.kernel.quantity import how_many, plain
from metering.models import Customer, Meter, WindowRepair


class _Window(Protocol):
    @property
    def meter_id(self) -> int: ...
    @property
    def customer_id(self) -> int: ...
    @property
    def workspace_id(self) -> int | None: ...
    @property
    def start_at(self) -> datetime: ...
    @property
    def dimensions(self) -> dict[str, str | None]: ...
    @property
    def stored_quantity(self) -> Decimal | None: ...
    @property
    def stored_count(self) -> int | None: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def event_count(self) -> int: ...


def content_of_repair(window: _Window) -> dict[str, object]:
    """Return one window of a repair as plain content."""
    stored = window.stored_quantity
    return {
        "customer": window.customer_id,
        "meter": window.meter_id,
        "workspace": window.workspace_id,
        "start_at": window.start_at,
        "dimensions": window.dimensions,
        "stored": None if stored is None else [plain(stored), window.stored_count],
        "recomputed": [plain(window.quantity), window.event_count],
    }


def standing_repair(content: list[dict[str, object]]) -> WindowRepair | None:
    """Return the repair of just these windows that waits to be decided or applied."""
    return WindowRepair.objects.filter(
        policy_change__content_sha256=sha256_hex(canonical_json(content)),
        policy_change__status__in=[PolicyStatus.SUBMITTED, PolicyStatus.APPROVED],
        applied__isnull=True,
    ).first()


@effect_of("window_repair")
def _effect(change: PolicyChange) -> Effect | None:
    """Show each window as it was stored and as its events say; the repair is of that state only."""
    if change.effect is not None:
        return None
    windows = json.loads(change.content)
    customers = {one["customer"] for one in windows}
    names = dict(Customer.objects.filter(pk__in=customers).values_list("pk", "external_id"))
    meters = Meter.objects.in_bulk({one["meter"] for one in windows})
    rows = tuple(
        EffectRow(
            subject=f"{names[one['customer']]}, {meters[one['meter']].code},"
            f" {', '.join(filter(None, one['dimensions'].values())) or 'all'},"
            f" {datetime.fromisoformat(one['start_at']):%Y-%m-%d %H:00}",
            customer_id=one["customer"],
            before=Decimal(one["stored"][0] if one["stored"] else 0),
            after=Decimal(one["recomputed"][0]),
            unit=meters[one["meter"]].unit,
        )
        for one in windows
    )
    basis = f"{how_many(len(rows), 'usage window')} as stored, and as the raw events say"
    return Effect(basis, rows, customers=len(customers), grants=0)


register_kind(
    Kind(
        "window_repair",
        "Repair of usage windows",
        is_rule=False,
        consequence="Engineering may then set the windows right, once, if none changed since.",
    )
)


@content_of("window_repair")
def _window_repair(change: PolicyChange) -> list[dict[str, object]]:
    repair = WindowRepair.objects.get(policy_change=change)
    contents = [content_of_repair(item) for item in repair.items.all()]
    return sorted(contents, key=canonical_json)
