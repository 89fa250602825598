"""Partitions are made once, by whoever comes first, and nobody gets an error for coming second."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from billing_project.kernel.period import Period
from billing_project.kernel.users import worker_user
from metering.models import MeterEvent
from metering.selectors.archive import archived_since, month_named
from metering.services import capture, storing
from metering.services.aggregate import aggregate_batches
from metering.services.archiving import archive_month, restore_month
from metering.services.capture import capture_events
from tests.metering.builders import a_customer, a_meter, an_event

MONTH = datetime(2031, 5, 1, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
def test_two_makers_of_one_partition_both_succeed() -> None:
    made, waiting = threading.Event(), threading.Event()
    answers: list[int] = []

    def second() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                # Ask once before the other commits: the answer "missing" is now cached.
                cursor.execute("SELECT to_regclass('meter_event_2031_05')")
                waiting.set()
                answers.append(storing.ensure_partitions([MONTH]))
        finally:
            connection.close()

    with transaction.atomic():
        answers.append(storing.ensure_partitions([MONTH]))
        thread = threading.Thread(target=second)
        thread.start()
        waiting.wait(5)
        made.wait(0.3)  # The other maker is inside the function, at the lock.
    thread.join(10)
    storing._known_months.clear()

    assert answers == [1, 0]
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE meter_event_2031_05")


def _forget(*months: str) -> None:
    storing.forget_months()
    with connection.cursor() as cursor:
        for month in months:
            cursor.execute(f"DROP TABLE IF EXISTS meter_event_{month}")


@pytest.mark.django_db(transaction=True)
def test_events_of_any_month_are_stored_by_many_at_once() -> None:
    at = datetime(2030, 1, 10, tzinfo=UTC)
    a_customer(at)
    a_meter(at)
    years = [1971, 1999, 2024, 2031, 2068, 2199]
    counts: list[int] = []

    def capture(worker: int) -> None:
        events = [
            an_event(f"{worker}-{year}", timestamp=datetime(year, 3, 31, 23, 59, tzinfo=UTC))
            for year in (years if worker % 2 else years[::-1])
        ]
        try:
            now = datetime(2200, 1, 1, tzinfo=UTC)
            since = datetime(1970, 1, 1, tzinfo=UTC)
            done = capture_events(items=events, sender="t", at=now, since=since)
            counts.append(done.accepted)
        finally:
            connection.close()

    _forget()
    threads = [threading.Thread(target=capture, args=[i]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    try:
        assert counts == [len(years)] * 8
        assert MeterEvent.objects.count() == 8 * len(years)
    finally:
        _forget(*(f"{year}_03" for year in years))


@pytest.mark.django_db(transaction=True)
def test_a_role_that_may_only_insert_gets_its_partition() -> None:
    _forget()
    with connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS web_of_test")
        cursor.execute("CREATE ROLE web_of_test NOSUPERUSER")
        try:
            cursor.execute("SET ROLE web_of_test")
            cursor.execute("SELECT meter_event_ensure_partition('2041-07-15')")
            assert cursor.fetchone() == (True,)
            cursor.execute("SELECT meter_event_ensure_partition('2041-07-01')")
            assert cursor.fetchone() == (False,)
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP ROLE web_of_test")
    _forget("2041_07")


_USED_AT, _AT = datetime(2026, 1, 20, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)


@contextmanager
def _archived_january(folder: Path, settings: Any) -> Iterator[None]:
    """Archive the month of one event, while this server takes it for stored as before."""
    settings.ARCHIVE_DIR = folder
    a_customer(_USED_AT)
    a_meter(_USED_AT)
    capture_events(items=[an_event("e1")], sender="t", at=_USED_AT)
    aggregate_batches(at=_USED_AT)
    month = month_named(date(2026, 1, 1))
    known = set(storing._known_months)
    archive_month(month=month, by=worker_user(), at=_AT)
    try:
        storing._known_months.update(known)  # As another process still does.
        yield
    finally:
        restore_month(first=date(2026, 1, 1), by=worker_user(), at=_AT)


@pytest.mark.django_db(transaction=True)
def test_a_server_that_knew_the_partition_learns_that_it_was_archived(
    tmp_path: Path, settings: Any
) -> None:
    with _archived_january(tmp_path, settings):
        answers: list[list[Period] | None] = [[], None]  # The first look comes too early.

        def look(oldest: datetime, now: datetime | None) -> list[Period]:
            answer = answers.pop(0) if answers else None
            return archived_since(oldest, now) if answer is None else answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(capture, "archived_since", look)
            event = an_event("e2", timestamp=_USED_AT)
            result = capture_events(items=[event], sender="t", at=_AT, since=_USED_AT)
        assert result.results[0].code == "period_closed"
        assert MeterEvent.objects.count() == 0
    assert MeterEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_month_archived_while_it_is_current_refuses_its_events_in_words(
    tmp_path: Path, settings: Any
) -> None:
    with _archived_january(tmp_path, settings):
        result = capture_events(items=[an_event("e2")], sender="t", at=_USED_AT)

        assert result.results[0].code == "period_closed"


@pytest.mark.django_db
def test_adjustments_unknown_to_statistics_are_looked_up_by_their_event() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_viewdef('used_meter_event'::regclass)")
        (text,) = cursor.fetchone()
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN SELECT * FROM used_meter_event WHERE id = 1")
        plan = " ".join(line for (line,) in cursor.fetchall())

    assert "+ 0) DESC" in text
    assert "meter_event_adjustment_pkey" not in plan  # However dear a sort is told to be.
