"""A range of events replaced as one object: planned, approved, applied, taken back."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.approvals import is_as_proposed, reject
from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import OutboxMessage, PolicyStatus
from billing_project.kernel.users import worker_user
from metering.events import BadItem, EventInput
from metering.models import (
    Backfill,
    BackfillError,
    BackfillEvent,
    Customer,
    MeterEvent,
    MeterEventAdjustment,
    UsageWindow,
)
from metering.selectors.backfills import counts_of, error_file
from metering.selectors.events import effective_properties, event_state, find_event
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import aggregate_batches, carry_idle_hours
from metering.services.backfilling import apply_backfill, revert_backfill
from metering.services.backfills import (
    Line,
    add_backfill_lines,
    discard_backfill,
    propose_backfill,
)
from metering.services.planning import Counts
from tests.metering.backfills import a_backfill, applied, approved, submitted, tried, upload
from tests.metering.builders import a_customer, a_meter, an_event, send
from tests.metering.late import a_person

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def acme(at: datetime) -> Customer:
    """Return a customer with four events on a day, read by five meters; the hours are summed."""
    for aggregation in ("sum", "count", "max", "last", "unique"):
        a_meter(at - 90 * DAY, aggregation)
    customer = a_customer(at - 90 * DAY)
    send(at, *(used(at, name, minute) for minute, name in enumerate("abcd")))
    aggregate_batches(at=at)
    return customer


def used(
    at: datetime, name: str, minute: int = 0, tokens: str = "100", **more: object
) -> EventInput:
    """Report tokens of yesterday."""
    stamp = at - DAY + timedelta(minutes=minute)
    return an_event(name, timestamp=stamp, properties={"model": "haiku", "tokens": tokens}, **more)


def day(customer: Customer, at: datetime, *names: str) -> Backfill:
    return a_backfill(customer, at - DAY, at, at, *names)


def quantities() -> dict[str, Decimal]:
    rows = UsageWindow.objects.order_by("meter_id", "id")
    totals: dict[str, Decimal] = {}
    for window in rows.select_related("meter"):
        name = window.meter.aggregation
        totals[name] = totals.get(name, Decimal(0)) + window.quantity
    return totals


def findings() -> list[object]:
    known = {"kernel.commits_are_durable"}
    return [f for result in run_checks() for f in result.findings if result.name not in known]


def five(*values: int) -> dict[str, Decimal]:
    names = ("sum", "count", "max", "last", "unique")
    return {name: Decimal(value) for name, value in zip(names, values, strict=True)}


def test_the_range_is_what_was_uploaded_and_back_again(acme: Customer, at: datetime) -> None:
    assert quantities() == five(400, 4, 100, 100, 1)
    backfill = day(acme, at)
    # a as it was, b with 700 tokens, c and d gone, e new.
    upload(backfill, at, used(at, "a", 0), used(at, "b", 1, "700"), used(at, "e", 4, "50"))

    done = applied(backfill, at)

    assert (done.state, done.applied_by) == ("applied", backfill.created_by)
    assert quantities() == five(850, 3, 700, 50, 3)
    assert MeterEvent.objects.count() == 5  # No row is deleted.
    assert counts_of(done).added_count == 1
    assert counts_of(done).adjustment_count == 3
    assert apply_backfill(backfill=done, by=worker_user(), at=at).pk == done.pk  # Once.
    assert findings() == []

    revert_backfill(backfill=done, reason="the collector was right", by=worker_user(), at=at)
    revert_backfill(backfill=done, reason="again", by=worker_user(), at=at)

    assert quantities() == five(400, 4, 100, 100, 1)
    assert MeterEvent.objects.count() == 5
    assert counts_of(done).adjustment_count == 7
    assert findings() == []


def test_old_use_is_taken_in_and_its_retry_is_a_duplicate(acme: Customer, at: datetime) -> None:
    start = at - 80 * DAY
    backfill = a_backfill(acme, start, start + DAY, at)
    old = an_event("old", timestamp=start + HOUR)
    upload(backfill, at, old)

    applied(backfill, at)

    assert quantities()["sum"] == Decimal(500)
    assert [one.status for one in send(at, old).results] == ["duplicate"]
    assert findings() == []


def test_what_a_person_cancelled_counts_again_if_it_was_uploaded(
    acme: Customer, at: datetime
) -> None:
    by = a_person("eli.back", "engineering")
    cancel_event(customer=acme, identifier="a", reason="test", by=by, at=at)
    amend_event(
        customer=acme, identifier="b", reason="test", by=by, at=at,
        properties={"model": "haiku", "tokens": "9"},
    )  # fmt: skip
    cancel_event(customer=acme, identifier="b", reason="test", by=by, at=at)
    cancel_event(customer=acme, identifier="d", reason="test", by=by, at=at)
    backfill = day(acme, at)
    upload(backfill, at, used(at, "a"), used(at, "b", 1), used(at, "c", 2))

    assert tried(backfill, at).carried.counts == Counts(keep=2, reinstate=2)
    applied(backfill, at)
    assert quantities() == five(300, 3, 100, 100, 1)
    again = cancel_event(customer=acme, identifier="a", reason="still", by=by, at=at)
    assert again.generation == 1
    assert findings() == []

    revert_backfill(backfill=backfill, reason="no", by=by, at=at)

    states = [str(event_state(event)) for event in MeterEvent.objects.order_by("identifier")]
    assert states == ["cancelled", "cancelled", "aggregated", "cancelled"]
    assert quantities()["sum"] == Decimal(100)
    assert findings() == []


def test_a_revert_gives_back_what_an_event_said_before(acme: Customer, at: datetime) -> None:
    by = a_person("eli.back", "engineering")
    amend_event(
        customer=acme, identifier="a", reason="test", by=by, at=at,
        properties={"model": "haiku", "tokens": "9"},
    )  # fmt: skip
    backfill = day(acme, at)
    upload(backfill, at, used(at, "b", 1, "1"))
    applied(backfill, at)
    assert quantities()["sum"] == Decimal(1)

    revert_backfill(backfill=backfill, reason="no", by=by, at=at)

    said = {
        event.identifier: effective_properties(event)["tokens"]  # type: ignore[index]
        for event in MeterEvent.objects.all()
    }
    assert said == {"a": "9", "b": "100", "c": "100", "d": "100"}
    assert findings() == []


def test_a_revert_leaves_what_was_decided_since(acme: Customer, at: datetime) -> None:
    by = a_person("eli.back", "engineering")
    backfill = day(acme, at)
    upload(backfill, at, used(at, "a", 0, "5"), used(at, "new", 9))
    applied(backfill, at)
    amend_event(
        customer=acme, identifier="a", reason="later", by=by, at=at,
        properties={"model": "haiku", "tokens": "6"},
    )  # fmt: skip
    cancel_event(customer=acme, identifier="new", reason="later", by=by, at=at)

    revert_backfill(backfill=backfill, reason="no", by=by, at=at)

    assert quantities()["sum"] == Decimal(306)
    assert findings() == []


def test_levels_follow_beyond_the_range(at: datetime) -> None:
    a_meter(at - 90 * DAY, "time_weighted_sum", value_property="seats", dimensions=())
    acme = a_customer(at - 90 * DAY)
    start = at - 10 * HOUR
    send(at, an_event("ten", timestamp=start, properties={"seats": "10"}))
    aggregate_batches(at=at)
    carry_idle_hours(at=at)
    assert quantities() == {"time_weighted_sum": Decimal(100)}
    backfill = a_backfill(acme, start, start + HOUR, at)
    upload(
        backfill, at,
        an_event("ten", timestamp=start, properties={"seats": "4"}),
        an_event("two", timestamp=start + HOUR / 2, properties={"seats": "2"}),
    )  # fmt: skip
    [row] = tried(backfill, at).quantities  # Half an hour of 4 and of 2, then nine hours of 2.
    assert (row.before, row.after) == (Decimal(100), Decimal(21))

    applied(backfill, at)
    assert quantities() == {"time_weighted_sum": Decimal(3 + 9 * 2)}
    assert findings() == []
    revert_backfill(backfill=backfill, reason="no", by=worker_user(), at=at)

    assert quantities() == {"time_weighted_sum": Decimal(100)}
    assert findings() == []


def test_only_the_named_events_are_replaced(acme: Customer, at: datetime) -> None:
    a_meter(at, "count", code="tool_calls", event_name="tool_call")
    send(at, an_event("tool", event_name="tool_call", timestamp=at - DAY))
    backfill = day(acme, at, "tool_call")
    assert upload(backfill, at, used(at, "a")).refused == 1
    assert tried(backfill, at).carried.counts == Counts(cancel=1)


def test_nothing_of_a_preview_stays(acme: Customer, at: datetime) -> None:
    OutboxMessage.objects.all().delete()
    backfill = day(acme, at)
    upload(backfill, at, used(at, "a"), used(at, "b", 1, "700"), used(at, "e", 4, "50"))

    preview = tried(backfill, at)

    assert preview.carried.counts == Counts(keep=1, add=1, amend=1, cancel=2)
    [sums] = [one for one in preview.quantities if one.meter == "tokens_sum"]
    assert (sums.time, sums.before, sums.after) == ("2026-11-19", Decimal(400), Decimal(850))
    assert sums.dimensions == {"model": "haiku"}
    [unique] = [one for one in preview.quantities if one.meter == "tokens_unique"]
    assert (unique.time, unique.difference) == ("2026-11-19T12", Decimal(2))
    assert quantities() == five(400, 4, 100, 100, 1)
    assert not MeterEventAdjustment.objects.exists()
    assert not OutboxMessage.objects.exists()
    assert tried(backfill, at).carried.state_sha256 == preview.carried.state_sha256


def test_a_changed_range_voids_the_approval(acme: Customer, at: datetime) -> None:
    backfill = day(acme, at)
    upload(backfill, at, used(at, "a"))
    first = approved(backfill, at)
    send(at, used(at, "late", 30))

    with pytest.raises(Conflict, match="changed since the preview") as error:
        apply_backfill(backfill=backfill, by=worker_user(), at=at)

    assert error.value.code == "backfill_state_changed"
    assert quantities()["sum"] == Decimal(400)
    second = approved(backfill, at)
    assert (second.number, second.state_sha256 == first.state_sha256) == (2, False)
    apply_backfill(backfill=backfill, by=worker_user(), at=at)
    aggregate_batches(at=at)
    assert quantities()["sum"] == Decimal(100)
    assert findings() == []


def test_an_adjustment_since_the_preview_voids_the_approval(acme: Customer, at: datetime) -> None:
    backfill = day(acme, at)
    upload(backfill, at, used(at, "a"))
    approved(backfill, at)
    cancel_event(customer=acme, identifier="d", reason="test", by=worker_user(), at=at)

    with pytest.raises(Conflict, match="changed since the preview"):
        apply_backfill(backfill=backfill, by=worker_user(), at=at)


def test_a_waiting_batch_is_corrected_before_it_is_counted(acme: Customer, at: datetime) -> None:
    backfill = day(acme, at)
    upload(backfill, at, used(at, "a"), used(at, "waits", 30, "7"))
    send(at, used(at, "waits", 30), used(at, "goes", 31))
    propose_backfill(
        backfill=backfill, state_sha256=tried(backfill, at).carried.state_sha256, effect={},
        by=backfill.created_by, at=at,
    )  # fmt: skip
    approved(backfill, at)
    send(at, an_event("other", timestamp=at - 3 * DAY))  # Waits, out of range.
    apply_backfill(backfill=backfill, by=worker_user(), at=at)
    aggregate_batches(at=at)

    assert quantities()["sum"] == Decimal(100 + 7 + 100)
    assert findings() == []


def test_only_what_somebody_else_approved_is_applied(acme: Customer, at: datetime) -> None:
    backfill = day(acme, at)
    upload(backfill, at, used(at, "a"))
    with pytest.raises(Conflict, match="only a submitted one"):
        apply_backfill(backfill=backfill, by=worker_user(), at=at)
    proposal = submitted(backfill, at)
    assert submitted(backfill, at) == proposal  # The same state is no new proposal.
    assert is_as_proposed(proposal.policy_change)
    with pytest.raises(Conflict, match="is submitted: it is not applied"):
        apply_backfill(backfill=backfill, by=worker_user(), at=at)
    reject(
        change=proposal.policy_change, reason="why?", at=at,
        by=a_person("ann.back", "finance_approver"),
    )  # fmt: skip
    with pytest.raises(Conflict, match="is rejected"):
        apply_backfill(backfill=backfill, by=worker_user(), at=at)
    with pytest.raises(Conflict, match="takes no lines"):
        upload(backfill, at, used(at, "z"))
    with pytest.raises(Conflict, match="only an applied one"):
        revert_backfill(backfill=backfill, reason="no", by=worker_user(), at=at)
    discard_backfill(backfill=backfill, reason="no", by=worker_user(), at=at)
    with pytest.raises(Conflict, match="not submitted any more"):
        submitted(backfill, at)


def test_a_person_withdraws_their_own_proposal_by_a_new_one(acme: Customer, at: datetime) -> None:
    backfill = day(acme, at)
    upload(backfill, at, used(at, "a"))
    first = submitted(backfill, at)
    send(at, used(at, "more", 30))
    second = submitted(backfill, at)

    first.policy_change.refresh_from_db()
    assert (first.policy_change.status, second.number) == (PolicyStatus.WITHDRAWN, 2)


def test_each_bad_line_is_kept_with_its_fault(acme: Customer, at: datetime) -> None:
    backfill = day(acme, at)
    a_customer(at, "beta")
    lines = [
        used(at, "good"),
        used(at, "good"),
        used(at, "good", 1),
        used(at, "theirs", customer="beta"),
        used(at, "outside", 24 * 60),
        an_event("no-time"),
        used(at, "what", event_name="unknown"),
        used(at, "=nan", tokens="many"),
    ]
    numbered = [Line(n, item) for n, item in enumerate(lines, start=2)]
    numbered.append(Line(20, BadItem("is not readable as an event")))

    result = add_backfill_lines(backfill=backfill, lines=numbered, by=worker_user(), at=at)

    assert (result.accepted, result.repeated, result.refused) == (1, 1, 7)
    codes = BackfillError.objects.order_by("line").values_list("line", "code")
    assert list(codes) == [
        (4, "identifier_conflict"), (5, "other_customer"), (6, "out_of_range"),
        (7, "missing_timestamp"), (8, "unknown_event_name"), (9, "invalid_value"),
        (20, "invalid_value"),
    ]  # fmt: skip
    header, *rows = error_file(backfill)
    assert header == "line,identifier,code,detail\r\n"
    assert len(rows) == 7
    assert any("'=nan" in row for row in rows)
    with pytest.raises(Conflict, match="7 lines with faults"):
        submitted(backfill, at)


def test_an_identifier_that_is_stored_elsewhere_is_refused(acme: Customer, at: datetime) -> None:
    send(at, an_event("elsewhere", timestamp=at - 5 * DAY))
    backfill = day(acme, at)
    upload(backfill, at, used(at, "elsewhere"), used(at, "a", 9))

    with pytest.raises(Conflict, match=r"2 identifiers .*\(a, elsewhere\)"):
        tried(backfill, at)


@pytest.mark.parametrize(
    ("start", "end", "match"),
    [
        (timedelta(minutes=-90), timedelta(0), "whole UTC hour"),
        (timedelta(0), timedelta(0), "after its start"),
        (-400 * DAY, timedelta(0), "within 366 days"),
        (-DAY, 2 * HOUR, "not in the future"),
    ],
)
def test_bounds_are_whole_hours_of_the_past(
    acme: Customer, at: datetime, start: timedelta, end: timedelta, match: str
) -> None:
    with pytest.raises(Invalid, match=match):
        a_backfill(acme, at + start, at + end, at)


def test_the_database_cancels_and_reinstates_an_event_once_in_a_generation(
    acme: Customer, at: datetime
) -> None:
    backfill = day(acme, at)
    upload(backfill, at, used(at, "a"))
    applied(backfill, at)
    event = find_event(acme, "b")
    assert event is not None
    values = {
        "customer": acme, "identifier": "b", "event_id": event.pk, "timestamp": event.timestamp,
        "reason": "again", "created_by": worker_user(), "created_at": at,
    }  # fmt: skip
    for more in ({"type": "cancel"}, {"type": "reinstate", "properties": {"tokens": "1"}}):
        with pytest.raises(DatabaseError), transaction.atomic():
            MeterEventAdjustment.objects.create(**values, **more)
    for change in (
        lambda: Backfill.objects.update(reason="x"),
        lambda: BackfillEvent.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
    assert connection.is_usable()
