"""What becomes of a readable event: stored, quarantined or rejected, and why.

Two reports of the same event are judged before this, by their identifier alone: a stored event's
retry stays a duplicate, however late it comes and whatever meters were made since.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from billing_project.kernel.quantity import NotAQuantity, parse_quantity
from metering.aggregation import MeterRule, Value
from metering.events import EventInput


class Status(StrEnum):
    """The answer to one item."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    QUARANTINED = "quarantined"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Verdict:
    """Why an event is not stored."""

    status: Status
    code: str
    detail: str


@dataclass(frozen=True)
class TimeWindow:
    """The instants at which use may have happened, both ends included."""

    first: datetime
    last: datetime

    @classmethod
    def around(cls, at: datetime, days_back: int, minutes_ahead: int) -> "TimeWindow":
        """Open the window at the instant of receipt."""
        return cls(at - timedelta(days=days_back), at + timedelta(minutes=minutes_ahead))


def judge_time(timestamp: datetime | None, window: TimeWindow) -> Verdict | None:
    """Reject use that is reported too late, or before it can have happened."""
    if timestamp is None or window.first <= timestamp <= window.last:
        return None
    if timestamp < window.first:
        return Verdict(
            Status.REJECTED,
            "timestamp_too_far_in_past",
            f"timestamps go back to {window.first.isoformat()}",
        )
    return Verdict(
        Status.REJECTED, "timestamp_in_future", f"timestamps go up to {window.last.isoformat()}"
    )


def judge_values(event: EventInput, rules: Iterable[MeterRule]) -> Verdict | None:
    """Reject a value that is no quantity; quarantine an event that lacks one.

    Args:
        rules: The meters of the event's name; each is asked if its filters pass.
    """
    missing: Verdict | None = None
    for rule in rules:
        if not rule.value_property or not rule.admits(event.properties):
            continue
        value = event.properties.get(rule.value_property)
        if value is None:
            detail = f"meter {rule.code} reads {rule.value_property}, which is not there"
            missing = missing or Verdict(Status.QUARANTINED, "missing_value", detail)
        elif rule.needs_quantity and (fault := _fault_of(value)):
            detail = f"{rule.value_property} {fault}"
            return Verdict(Status.REJECTED, "invalid_value", detail)
    return missing


def judge_late(timestamp: datetime, closed_before: datetime | None) -> Verdict | None:
    """Quarantine use of a period that is invoiced, where its customer's policy asks for that.

    Args:
        closed_before: None where no policy keeps late events.
    """
    if closed_before is None or timestamp >= closed_before:
        return None
    detail = f"usage before {closed_before.isoformat()} is invoiced; a replay bills it nevertheless"
    return Verdict(Status.QUARANTINED, "period_closed", detail)


def judge(
    event: EventInput,
    *,
    is_customer_known: bool,
    rules: Mapping[str, Sequence[MeterRule]],
    window: TimeWindow | None,
) -> Verdict | None:
    """Return why the event cannot be stored, or None if it can.

    Rejection goes before quarantine: what nobody could ever map is not kept waiting.

    Args:
        rules: Meters by event name.
        window: None where the time was judged before (a replay).
    """
    meters = rules.get(event.event_name, ())
    verdict = judge_time(event.timestamp, window) if window else None
    values = verdict or judge_values(event, meters)
    if values and values.status == Status.REJECTED:
        return values
    if not is_customer_known:
        detail = f"no customer or alias is called {event.customer}"
        return Verdict(Status.QUARANTINED, "unknown_customer", detail)
    if not meters:
        detail = f"no meter reads {event.event_name}"
        return Verdict(Status.QUARANTINED, "unknown_event_name", detail)
    return values


def _fault_of(value: Value) -> str | None:
    if isinstance(value, str) and _is_plain_integer(value):
        return None  # The usual case, without a regular expression.
    try:
        parse_quantity(value)
    except NotAQuantity as error:
        return str(error)
    return None


def _is_plain_integer(text: str) -> bool:
    is_number = text.isascii() and text.isdigit()
    return is_number and len(text) <= 24 and (text[0] != "0" or len(text) == 1)
