"""What becomes of a readable event: stored, quarantined or rejected, and why.

Two reports of the same event are judged before this, by their identifier alone: a stored event's
retry stays a duplicate, however late it comes and whatever meters were made since.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from billing_project.kernel.period import Period
from billing_project.kernel.quantity import NotAQuantity, parse_quantity
from metering.aggregation import MeterRule, Value
from metering.events import EventInput

_MOST_DIGITS = 24
_PLAIN_INTEGERS = re.compile(rf"(?:(?:0|[1-9][0-9]{{0,{_MOST_DIGITS - 1}}}+)\n)++", re.ASCII)


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
            f"timestamps go back to {window.first.isoformat()}; older use comes in by a backfill, "
            "or a file with import_events --history",
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


def why_unread(event_name: str, rules: Iterable[MeterRule], used_at: datetime) -> str:
    """Say why no meter reads an event of a name, and which one did before that.

    Args:
        rules: All that ever read the name.
    """
    ended = {(rule.end_at, rule.code) for rule in rules if rule.end_at and rule.end_at <= used_at}
    if not ended:
        return f"no meter reads {event_name}"
    end_at, code = max(ended)
    return (
        f"no meter reads {event_name} any more: {code} did until {end_at:%Y-%m-%d %H:%M} UTC;"
        " reactivate it, or map the name to another meter, and replay"
    )


def judge_late(timestamp: datetime, invoiced: Iterable[Period]) -> Verdict | None:
    """Quarantine use of a period that is invoiced, where its customer's policy asks for that.

    Args:
        invoiced: Spans whose usage is invoiced; none where no policy keeps late events.
    """
    until = next((span.end for span in invoiced if timestamp in span), None)
    if until is None:
        return None
    detail = f"usage before {until.isoformat()} is invoiced; a replay bills it nevertheless"
    return Verdict(Status.QUARANTINED, "period_closed", detail)


class Span(NamedTuple):
    """The meters of one event name while no version changes, and what each event is asked first."""

    start_at: datetime | None
    rules: tuple[MeterRule, ...]
    values: tuple[str, ...] | None  # Properties that are always read; None: ask the rules.


def judge_archived(timestamp: datetime, months: Iterable[Period]) -> Verdict | None:
    """Reject use of a month whose events were archived: its windows are sealed."""
    if not any(timestamp in month for month in months):
        return None
    detail = f"events of {timestamp:%Y-%m} are archived; the month takes no more"
    return Verdict(Status.REJECTED, "period_closed", detail)


class Screen(NamedTuple):
    """The meters of one event name in all their versions."""

    spans: tuple[Span, ...]  # The oldest first; the first one has no start.

    @classmethod
    def of(cls, rules: Iterable[MeterRule]) -> "Screen":
        """Prepare the rules of one event name."""
        rules = tuple(rules)
        bounds = {at for rule in rules for at in (rule.start_at, rule.end_at) if at is not None}
        return cls(tuple(_span(rules, start) for start in (None, *sorted(bounds))))

    @property
    def rules(self) -> set[MeterRule]:
        """All rules that ever read the name."""
        return {rule for span in self.spans for rule in span.rules}

    def span_at(self, used_at: datetime) -> Span:
        """Choose the span of an instant; it has no rules if no version reads the name then."""
        for span in reversed(self.spans):
            if span.start_at is None or span.start_at <= used_at:
                return span
        raise AssertionError("the first span has no start")


def _span(rules: Sequence[MeterRule], start_at: datetime | None) -> Span:
    of_span = tuple(
        rule
        for rule in rules
        if (rule.start_at is None if start_at is None else rule.governs(start_at))
    )
    is_plain = all(
        rule.value_property and rule.needs_quantity and not rule.filters for rule in of_span
    )
    values = tuple(rule.value_property for rule in of_span) if is_plain else None
    return Span(start_at, of_span, values)


def is_plain(
    event: EventInput,
    used_at: datetime,
    screens: Mapping[str, Screen],
    window: TimeWindow | None,
) -> bool:
    """Tell at once that `judge` has nothing against the event of a known customer.

    Nearly every event is plain, so this is written to be quick: its time is within the window, its
    meters take every event of its name, and all that they read are whole numbers.
    """
    sent_at = event.timestamp
    if window and sent_at and not window.first <= sent_at <= window.last:
        return False
    screen = screens.get(event.event_name)
    if screen is None:
        return False
    span = screen.spans[0] if len(screen.spans) == 1 else screen.span_at(used_at)
    for name in span.values or ():
        value = event.properties.get(name)
        if type(value) is not str or not (
            value.isdigit()
            and value.isascii()
            and len(value) <= _MOST_DIGITS
            and (value[0] != "0" or value == "0")
        ):  # `_is_plain_integer`, written out: a call of its own would double the cost.
            return False
    return bool(span.values)


def are_plain(
    events: Sequence[EventInput],
    moments: Sequence[datetime],
    screens: Mapping[str, Screen],
    window: TimeWindow,
) -> bool:
    """Tell at once that `is_plain` holds for a whole batch; it is that function, by columns.

    Args:
        moments: When each counts as used; one that was not sent is within the window.
    """
    if min(moments) < window.first or max(moments) > window.last:
        return False
    by_name: dict[str, list[int]] = {}
    for place, event in enumerate(events):
        by_name.setdefault(event.event_name, []).append(place)
    for name, places in by_name.items():
        screen = screens.get(name)
        if screen is None:
            return False
        if len(screen.spans) > 1:
            if not all(is_plain(events[n], moments[n], screens, window) for n in places):
                return False
        elif not screen.spans[0].values or not all(
            _are_plain_integers([events[n].properties.get(value) for n in places])
            for value in screen.spans[0].values
        ):
            return False
    return True


def _are_plain_integers(values: Sequence[Value | None]) -> bool:
    """Tell whether `_is_plain_integer` holds for all; one match costs less than a call for each."""
    try:
        lines = "\n".join(values) + "\n"  # type: ignore[arg-type]
    except TypeError:  # A number, or nothing.
        return False
    return lines.count("\n") == len(values) and bool(_PLAIN_INTEGERS.fullmatch(lines))


def judge(
    event: EventInput,
    *,
    used_at: datetime,
    is_customer_known: bool,
    screens: Mapping[str, Screen],
    window: TimeWindow | None,
) -> Verdict | None:
    """Return why the event cannot be stored, or None if it can.

    Rejection goes before quarantine: what nobody could ever map is not kept waiting.

    Args:
        used_at: When the event counts as used; the versions in force then are asked.
        screens: Meters by event name.
        window: None where the time was judged before (a replay).
    """
    if window is not None and (verdict := judge_time(event.timestamp, window)):
        return verdict
    screen = screens.get(event.event_name)
    span = screen.span_at(used_at) if screen else None
    verdict = judge_values(event, span.rules) if span else None
    if verdict is not None and verdict.status == Status.REJECTED:
        return verdict
    if not is_customer_known:
        detail = f"no customer or alias is called {event.customer}"
        return Verdict(Status.QUARANTINED, "unknown_customer", detail)
    if span is None or not span.rules:
        rules = screen.rules if screen else ()
        detail = why_unread(event.event_name, rules, used_at)
        return Verdict(Status.QUARANTINED, "unknown_event_name", detail)
    return verdict


def _fault_of(value: Value) -> str | None:
    if isinstance(value, str) and _is_plain_integer(value):
        return None  # The usual case, without a regular expression.
    try:
        parse_quantity(value)
    except NotAQuantity as error:
        return str(error)
    return None


def _is_plain_integer(text: str) -> bool:
    is_number = text.isdigit() and text.isascii()
    return is_number and len(text) <= _MOST_DIGITS and (text[0] != "0" or len(text) == 1)
