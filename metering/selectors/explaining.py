"""Why an event is billed, or not: what became of it in metering, step by step and in words.

Any identifier is answered: a stored event, one that waits in quarantine, one that was refused at
the door (of which a counter and the last sample are kept). Later apps add their own steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from django.db import connection
from django.db.models import Model, QuerySet

from billing_project.kernel.errors import NotFound
from billing_project.kernel.quantity import plain
from metering.aggregation import Filter, MeterRule, Operator, Properties, text_of
from metering.judging import why_unread
from metering.models import (
    Customer,
    EventBatch,
    EventIdentity,
    EventRejection,
    MeterEvent,
    MeterEventAdjustment,
    QuarantinedEvent,
    UsageWindow,
)
from metering.models.event import AdjustmentType, QuarantineState
from metering.selectors.archive import MonthArchived, archived_at
from metering.selectors.customers import customer_ids
from metering.selectors.events import adjustments_of_event, find_event, windows_of_event
from metering.selectors.meters import meter_rules
from metering.selectors.quarantine import group_of

ENGINEERING = "engineering"
_ADJUSTED: dict[str, str] = {
    AdjustmentType.CANCEL.value: "cancelled",
    AdjustmentType.AMEND.value: "amended",
    AdjustmentType.REINSTATE.value: "reinstated",
}
_MOST = 20  # Customers that one identifier is looked up for.
_TRIES = 3  # Of an event, the newest.
# One probe of the identities' key for each customer (LIMIT keeps the planner from joining instead):
# no index on the identifier alone is paid for at every insert.
_CUSTOMERS_OF = """
SELECT c.external_id FROM customer c CROSS JOIN LATERAL (
    SELECT FROM event_identity i WHERE i.customer_id = c.id AND i.identifier = %(name)s LIMIT 1
) i
UNION
SELECT customer_external_id FROM quarantined_event WHERE identifier = %(name)s
UNION
SELECT sample ->> 'customer' FROM event_rejection WHERE sample ->> 'identifier' = %(name)s
ORDER BY 1 LIMIT %(most)s
"""


class Progress(StrEnum):
    """Whether a step was done, is to come, will never come, or says nothing about billing."""

    DONE = "done"
    SKIPPED = "skipped"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Step:
    """One step of an event's way, in words."""

    name: str
    progress: Progress
    text: str
    owner: str  # The role or person that answers for it.
    at: datetime | None = None
    subject: Model | None = None  # What to look at.


@dataclass(frozen=True)
class Explanation:
    """An event's way; `summary` is the one sentence that a person asks for."""

    customer: str
    identifier: str
    state: str
    steps: tuple[Step, ...]
    event: MeterEvent | None = None
    windows: tuple[UsageWindow, ...] = ()
    closing: str = ""  # How it is billed, once it is.

    @property
    def goes_on(self) -> bool:
        """Tell whether the event counts, so that pricing has the next word."""
        halts = {Progress.STOPPED, Progress.WAITING}
        return bool(self.windows) and not halts & {step.progress for step in self.steps}

    @property
    def summary(self) -> str:
        """Say whether it is billed and why, by the first step that is not done."""
        for step in self.steps:
            if step.progress == Progress.STOPPED:
                return f"Not billed: {step.text}."
            if step.progress == Progress.WAITING:
                return f"Not billed yet: {step.text}."
        text = f"Billed: {self.closing}" if self.closing else self.steps[-1].text
        return f"{text[:1].upper()}{text[1:]}."


def customers_of(identifier: str) -> list[str]:
    """Return the ids under which an identifier is known, as sent or as we bill them."""
    with connection.cursor() as cursor:
        cursor.execute(_CUSTOMERS_OF, {"name": identifier, "most": _MOST})
        return [name for (name,) in cursor.fetchall()]


def explain_event(customer: str, identifier: str) -> Explanation:
    """Say what became of an event in metering.

    Args:
        customer: The customer's external id or alias, or an id that nobody knows.

    Raises:
        NotFound: nothing was ever kept under this identifier.
    """
    customer_id = customer_ids([customer]).get(customer)
    if customer_id is not None:
        named = EventIdentity.objects.filter(customer_id=customer_id, identifier=identifier)
        if identity := named.first():
            return _stored(identity)
    kept = QuarantinedEvent.objects.filter(customer_external_id=customer, identifier=identifier)
    if row := kept.order_by("resolved_at", "-id").select_related("resolved_by").last():
        is_open = kept.filter(state=QuarantineState.OPEN).order_by("id").first()
        return _quarantined(is_open or row)
    refused = EventRejection.objects.filter(
        sample__identifier=identifier, sample__customer=customer
    )
    if rejection := refused.order_by("-last_at").first():
        return _refused(customer, identifier, rejection)
    raise NotFound(
        f"no report {identifier} of {customer} was kept: it never came, or it was refused at the"
        " door and a later refusal is the sample"
    )


def _stored(identity: EventIdentity) -> Explanation:
    customer = Customer.objects.get(pk=identity.customer_id)
    try:
        event = find_event(customer, identity.identifier)
    except MonthArchived:
        event = None
    if event is None:
        return _unread(customer, identity)
    adjustments = adjustments_of_event(event)
    newest = adjustments[-1] if adjustments else None
    steps = [
        *_kept_before(event),
        _received(event),
        *_archived(event),
        *_contradicted(event),
        *(_adjusted(one, is_last=one is newest) for one in adjustments),
    ]
    if newest is not None and newest.type == AdjustmentType.CANCEL:
        return _explanation(event, "cancelled", steps)
    properties: Properties = (newest.properties if newest else None) or event.properties
    readings = list(_readings(event, properties))
    if not any(step.progress == Progress.DONE for step in readings):
        return _explanation(event, "received", [*steps, _uncounted(readings)])
    steps += [
        replace(step, progress=Progress.SKIPPED) if step.progress == Progress.STOPPED else step
        for step in readings
    ]
    windows = windows_of_event(event)
    steps.append(_aggregated(event, windows))
    state = "aggregated" if windows else "received"
    return _explanation(event, state, steps, windows)


def _explanation(
    event: MeterEvent, state: str, steps: list[Step], windows: list[UsageWindow] | None = None
) -> Explanation:
    return Explanation(
        event.customer.external_id, event.identifier, state, tuple(steps), event,
        tuple(windows or ()),
    )  # fmt: skip


def _received(event: MeterEvent) -> Step:
    text = f"stored as {event.event_name}, used at {event.timestamp:%Y-%m-%d %H:%M:%S} UTC"
    return Step("received", Progress.DONE, text, ENGINEERING, event.received_at, event)


def _archived(event: MeterEvent) -> Iterator[Step]:
    """Tell in which file an event of an archived month was read."""
    if month := archived_at(event.timestamp):
        text = f"kept in {month.file_name}: its month {month} is archived"
        yield Step("archived", Progress.DONE, text, ENGINEERING, month.archived_at, month)


def _unread(customer: Customer, identity: EventIdentity) -> Explanation:
    """Tell where an event is whose file cannot be read here."""
    month = archived_at(identity.timestamp)
    place = f"in {month.file_name}, which is not in ARCHIVE_DIR" if month else "in no table"
    text = (
        f"its month {identity.timestamp:%Y-%m} is archived {place}; what was counted stays as it is"
    )
    at = month.archived_at if month else None
    step = Step("archived", Progress.DONE, text, ENGINEERING, at, month)
    return Explanation(customer.external_id, identity.identifier, "archived", (step,))


def _kept_before(event: MeterEvent) -> Iterator[Step]:
    """Tell how long a report waited before it was stored, and who saw to that."""
    for row in _reports_of(event, QuarantineState.REPLAYED):
        by = row.resolved_by.username if row.resolved_by else "the worker"
        text = (
            f"kept in quarantine, sent for {row.customer_external_id}:"
            f" {row.detail or row.reason}; replayed by {by}"
        )
        yield Step("quarantined", Progress.DONE, text, by, row.received_at, row)


def _reports_of(event: MeterEvent, state: QuarantineState) -> QuerySet[QuarantinedEvent]:
    """List the kept reports of an event, under whichever id of its customer they came."""
    names = [event.customer.external_id]
    names += event.customer.aliases.values_list("external_id", flat=True)
    rows = QuarantinedEvent.objects.filter(
        customer_external_id__in=names, identifier=event.identifier, state=state
    )
    return rows.select_related("resolved_by").order_by("id")


def _contradicted(event: MeterEvent) -> Iterator[Step]:
    """Name other reports under the same identifier; they change nothing."""
    for row in _reports_of(event, QuarantineState.OPEN):
        text = "another report under this identifier says something else and waits for a decision"
        yield Step("contradicted", Progress.SKIPPED, text, _owner(row), row.received_at, row)


def _adjusted(adjustment: MeterEventAdjustment, *, is_last: bool) -> Step:
    """Only a cancellation that nobody took back since stops an event."""
    verb = _ADJUSTED[adjustment.type]
    is_cancelled = adjustment.type == AdjustmentType.CANCEL
    taken_back = Progress.STOPPED if is_last else Progress.SKIPPED
    through = f" in backfill {adjustment.backfill_id}" if adjustment.backfill_id else ""
    return Step(
        verb,
        taken_back if is_cancelled else Progress.DONE,
        f"{verb} by {adjustment.created_by}{through}: {adjustment.reason}",
        str(adjustment.created_by),
        adjustment.created_at,
        adjustment,
    )


def _readings(event: MeterEvent, properties: Properties) -> Iterator[Step]:
    """Ask every meter of the event's name; at least one step comes out."""
    readers = meter_rules([event.event_name])
    rules = [rule for rule in readers if rule.governs(event.timestamp)]
    for rule in rules:
        fault = why_not_counted(rule, event.pk, properties)
        progress = Progress.STOPPED if fault else Progress.DONE
        text = f"meter {rule.code} {fault or _counted(rule, properties)}"
        yield Step("metered", progress, text, ENGINEERING)
    if not rules:
        text = why_unread(event.event_name, readers, event.timestamp)
        yield Step("metered", Progress.STOPPED, text, ENGINEERING)


def why_not_counted(rule: MeterRule, event_id: int, properties: Properties) -> str:
    """Say why a meter does not count an event, or nothing."""
    if event_id < rule.first_event_id:
        return "was made after this event was stored, and counts later ones"
    for one in rule.filters:
        if not one.admits(properties):
            return f"counts only where {_asked(one)}; here {_said(one.property, properties)}"
    if rule.needs_quantity and rule.quantity_of(properties) is None:
        return f"reads {rule.value_property}; here {_said(rule.value_property, properties)}"
    if rule.aggregation == "unique" and properties.get(rule.value_property) is None:
        return f"reads {rule.value_property}, which is not there"
    return ""


def _asked(one: Filter) -> str:
    words = {
        Operator.EQ: "is",
        Operator.NE: "is not",
        Operator.IN: "is one of",
        Operator.EXISTS: "is there",
        Operator.ABSENT: "is not there",
    }
    return f"{one.property} {words[one.operator]} {', '.join(one.values)}".strip()


def _said(name: str, properties: Properties) -> str:
    value = properties.get(name)
    return f"{name} is not there" if value is None else f"{name} is {text_of(value)}"


def _counted(rule: MeterRule, properties: Properties) -> str:
    quantity = rule.quantity_of(properties) if rule.needs_quantity else None
    return f"reads {plain(quantity)}" if quantity is not None else "counts it"


def _uncounted(readings: list[Step]) -> Step:
    return Step("metered", Progress.STOPPED, "; ".join(s.text for s in readings), ENGINEERING)


def _aggregated(event: MeterEvent, windows: list[UsageWindow]) -> Step:
    batch = EventBatch.objects.get(pk=event.batch_id)
    if batch.aggregated_at is None:
        since = f"{batch.received_at:%Y-%m-%d %H:%M:%S}"
        text = f"it waits to be aggregated since {since} UTC"
        return Step("aggregated", Progress.WAITING, text, ENGINEERING, batch.received_at, batch)
    hours = sorted({f"{window.start_at:%Y-%m-%d %H:00} UTC" for window in windows})
    codes = ", ".join(sorted({window.meter.code for window in windows}))
    text = f"counted in the hour of {', '.join(hours)} by {codes}"
    subject = windows[0] if windows else batch
    return Step("aggregated", Progress.DONE, text, ENGINEERING, batch.aggregated_at, subject)


def _quarantined(row: QuarantinedEvent) -> Explanation:
    came = Step(
        "received", Progress.DONE, f"came as {row.event_name} and was kept", ENGINEERING,
        row.received_at, row,
    )  # fmt: skip
    if row.state == QuarantineState.OPEN:
        owner = _owner(row)
        text = f"{row.detail or row.reason}: it waits in quarantine, {owner} answers for it"
        last = Step("quarantined", Progress.STOPPED, text, owner, row.received_at, row)
    else:
        text = f"{row.state} by {row.resolved_by}: {row.resolution}"
        last = Step(row.state, Progress.STOPPED, text, str(row.resolved_by), row.resolved_at, row)
    state = "quarantined" if row.state == QuarantineState.OPEN else row.state
    return Explanation(row.customer_external_id, row.identifier, state, (came, *_tries(row), last))


def _tries(row: QuarantinedEvent) -> Iterator[Step]:
    """Say what the event lacked first, and each time that it was tried again; the newest tries."""
    newest = list(row.tries.select_related("tried_by").order_by("-id")[:_TRIES])
    for one in reversed(newest):
        text = f"waited for this: {one.detail_before or one.reason_before}; tried again"
        yield Step("tried", Progress.SKIPPED, text, str(one.tried_by), one.tried_at, row)


def _refused(customer: str, identifier: str, rejection: EventRejection) -> Explanation:
    text = (
        f"refused at the door ({rejection.code}): {rejection.sample.get('detail', '')};"
        f" only a counter and this sample are kept, sent by {rejection.api_key_name}"
    )
    step = Step("rejected", Progress.STOPPED, text, ENGINEERING, rejection.last_at, rejection)
    return Explanation(customer, identifier, "rejected", (step,))


def _owner(row: QuarantinedEvent) -> str:
    group = group_of(row)
    return "" if group is None else str(group.person or group.role)
