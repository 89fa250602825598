"""Repairs of windows as the content that was proposed and approved."""

from datetime import datetime
from decimal import Decimal
from typing import Protocol

from billing_project.kernel.approvals import content_of
from billing_project.kernel.canonical import canonical_json
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.quantity import plain
from metering.models import WindowRepair


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
