"""Races with a gap between their steps, and canaries: without the guard the same race does harm."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import pytest
from django.db import DatabaseError, connection

from billing_project.kernel import sessions
from billing_project.kernel.keys import create_api_key
from metering.events import EventInput
from metering.models import EventIdentity, MeterEvent
from metering.services import plain, storing
from metering.services.capture import CaptureResult
from tests.conftest import reset_database
from tests.faults.rig import at_once
from tests.metering import builders

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def _slow_claims(seconds: str) -> None:
    """Make PostgreSQL pause at each identity: the gap in which others get their turn."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION wait_a_little() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER gap BEFORE INSERT ON event_identity"
            " FOR EACH ROW EXECUTE FUNCTION wait_a_little()"
        )


@contextmanager
def _gap(seconds: str) -> Iterator[None]:
    _slow_claims(seconds)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER gap ON event_identity")
            cursor.execute("DROP FUNCTION wait_a_little")


def _crossing_batches() -> list[CaptureResult]:
    """Four writers with the same events, two of them backwards, none of them retrying."""
    storing.ensure_partitions([AT])  # Else the first writer makes it, and the others wait for that.
    events = [builders.an_event(f"e{n:02}") for n in range(12)]
    orders = [events, events[::-1], events[6:] + events[:6], events[::-1]]
    with _gap("0.04"):
        return at_once([partial(builders.send, AT, *order) for order in orders], is_connected=True)


@pytest.fixture
def no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a deadlock up; finding an event that was stored meanwhile is no second try."""
    monkeypatch.setattr(sessions, "AGAIN", set[str]())


def test_i4_unsorted_batches_in_reversed_orders_do_not_deadlock(
    books: None, no_second_try: None
) -> None:
    results = _crossing_batches()

    assert sum(result.accepted for result in results) == 12
    assert sum(result.duplicates for result in results) == 36
    assert MeterEvent.objects.count() == 12


def test_i4_canary_without_the_sort_they_do(
    books: None, no_second_try: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "_KEY", lambda event: 0)  # As they were sent.

    with pytest.raises(DatabaseError, match="deadlock"):
        _crossing_batches()


def _crossing_singles() -> int:
    """Two groups of single events and a batch with the same events, one of them backwards."""
    key = create_api_key(name="app", scopes=["events:write"], at=AT)[0]
    events = [builders.an_event(f"e{n:02}") for n in range(12)]
    builders.send(AT, builders.an_event("warm"))  # From now on the month is known.

    def store(order: list[EventInput]) -> int:
        return len(plain.store_plain_events(items=order, key_ids=[key.pk] * 12, at=AT))

    def send() -> int:
        return builders.send(AT, *events).accepted

    with _gap("0.04"):
        jobs: list[Callable[[], int]] = [partial(store, events), partial(store, events[::-1]), send]
        return sum(at_once(jobs, is_connected=True))


def test_i4_single_events_in_reversed_orders_do_not_deadlock(
    books: None, no_second_try: None
) -> None:
    assert _crossing_singles() == 12
    assert MeterEvent.objects.count() == 13


def test_i4_canary_without_the_sort_single_events_do(books: None, no_second_try: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef('meter_event_store_plain'::regproc)")
        (as_it_is,) = cursor.fetchone()
        unsorted = as_it_is.replace('ORDER BY customer_id, identifier COLLATE "C"', "ORDER BY n")
        assert unsorted != as_it_is
        cursor.execute(unsorted.replace("%", "%%"))
    try:
        with pytest.raises(DatabaseError, match="deadlock"):
            _crossing_singles()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(as_it_is.replace("%", "%%"))


def _one_event_by_eight() -> int:
    with _gap("0.1"):
        results = at_once([lambda: builders.send(AT, builders.an_event())] * 8, is_connected=True)
    return sum(result.accepted for result in results)


def test_i1_eight_writers_in_the_gap_store_one_event(books: None) -> None:
    assert _one_event_by_eight() == 1
    assert (MeterEvent.objects.count(), EventIdentity.objects.count()) == (1, 1)


def test_i1_canary_without_the_key_they_store_more(books: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = 'event_identity'::regclass AND contype = 'p'"
        )
        name, definition = cursor.fetchone()
        cursor.execute(f"ALTER TABLE event_identity DROP CONSTRAINT {name}")
    try:
        assert _one_event_by_eight() > 1
        assert MeterEvent.objects.count() > 1
    finally:
        reset_database()
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE event_identity ADD CONSTRAINT {name} {definition}")


def test_g1_a_claim_whose_write_fails_is_free_again(books: None) -> None:
    """Claimed first, then the write fails: the retry must be billed, once."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION break_it() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'the disk says no'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON event_batch"
            " FOR EACH ROW EXECUTE FUNCTION break_it()"
        )
    try:
        with pytest.raises(DatabaseError, match="the disk says no"):
            builders.send(AT, builders.an_event())
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER broken ON event_batch")
            cursor.execute("DROP FUNCTION break_it")
    assert (MeterEvent.objects.count(), EventIdentity.objects.count()) == (0, 0)

    assert builders.send(AT, builders.an_event()).accepted == 1
    assert builders.send(AT, builders.an_event()).duplicates == 1
    assert (MeterEvent.objects.count(), EventIdentity.objects.count()) == (1, 1)
