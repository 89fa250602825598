"""Work on whole groups: in chunks, counted once, whoever and however many work on it."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from billing_project.kernel.errors import Conflict, Invalid, NotFound
from billing_project.kernel.models import AuditEntry, User
from billing_project.kernel.users import worker_user
from metering import tasks
from metering.models import MeterEvent, QuarantinedEvent, QuarantineRun, UsageWindow
from metering.services import quarantine_runs
from metering.services.aggregate import aggregate_batches
from metering.services.customers import add_alias
from metering.services.quarantine_runs import advance_run, advance_runs, start_run
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db
UNKNOWN = {"reason": "unknown_customer", "missing": "nobody"}
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine_runs, "AT_ONCE", 3)


def _wait(at: datetime, count: int) -> None:
    a_meter(at)
    customer = a_customer(at)
    send(at, *(an_event(f"e{i}", customer="nobody") for i in range(count)))
    add_alias(external_id="nobody", customer=customer, reason="moved", by=worker_user(), at=at)


def test_a_group_is_replayed_in_chunks_that_show_what_is_left(engineer: User, at: datetime) -> None:
    _wait(at, 7)
    run = start_run(kind="replay", **UNKNOWN, by=engineer, at=at)

    lefts = [run.left_count, *(advance_run(run, at=at).left_count for _ in range(3))]

    aggregate_batches(at=at)
    run.refresh_from_db()
    assert lefts == [7, 4, 1, 0]
    assert (run.tried_count, run.closed_count, run.finished_at) == (7, 7, at)
    assert UsageWindow.objects.get().quantity == 700
    assert AuditEntry.objects.filter(action="replay_quarantine", by=engineer).count() == 7
    assert tasks.work_quarantine() == 0


def test_what_stays_open_is_tried_once_in_a_run(engineer: User, at: datetime) -> None:
    a_meter(at)
    send(at, *(an_event(f"e{i}", customer="nobody") for i in range(4)))
    run = start_run(kind="replay", **UNKNOWN, by=engineer, at=at)

    tried = [advance_runs(at=at) for _ in range(3)]

    run.refresh_from_db()
    assert tried == [3, 1, 0]
    assert (run.closed_count, run.left_count) == (0, 0)
    assert QuarantinedEvent.objects.filter(state="open").count() == 4


def test_a_run_that_fails_waits_and_the_others_go_on(
    engineer: User, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    _wait(at, 2)
    send(at, an_event("other", customer="somebody"))
    first = start_run(kind="replay", **UNKNOWN, by=engineer, at=at)
    second = start_run(
        kind="replay", reason="unknown_customer", missing="somebody", by=engineer, at=at
    )
    work = quarantine_runs._work

    def fail_first(run: QuarantineRun, *more: Any) -> int:
        if run.pk == first.pk:
            raise RuntimeError("out of order")
        return work(run, *more)

    with monkeypatch.context() as patch:
        patch.setattr(quarantine_runs, "_work", fail_first)
        pauses = []
        now = at
        for _ in range(3):
            advance_runs(at=now)
            first.refresh_from_db()
            assert first.not_before is not None
            pauses.append((first.not_before - now).seconds)
            now = first.not_before
        assert advance_runs(at=now - timedelta(seconds=1)) == 0  # Its time has not come.

    second.refresh_from_db()
    assert second.finished_at == at
    assert pauses == [5, 10, 20]
    assert (first.fault, first.attempt_count) == ("RuntimeError: out of order", 3)
    assert advance_runs(at=now) == 2
    first.refresh_from_db()
    assert (first.fault, first.attempt_count, first.finished_at) == ("", 0, now)


def test_a_double_click_asks_for_one_run(engineer: User, at: datetime) -> None:
    _wait(at, 7)

    first, second = (start_run(kind="replay", **UNKNOWN, by=engineer, at=at) for _ in "ab")

    assert first == second
    with pytest.raises(Conflict):
        start_run(kind="dismiss", **UNKNOWN, words="a load test", by=engineer, at=at)


def test_what_comes_later_waits_for_the_next_run(engineer: User, at: datetime) -> None:
    a_meter(at)
    send(at, *(an_event(f"e{i}", customer="nobody") for i in range(4)))
    run = start_run(kind="dismiss", **UNKNOWN, words="a load test", by=engineer, at=at)
    send(at, an_event("late", customer="nobody"))

    while advance_runs(at=at):
        pass

    assert QuarantinedEvent.objects.get(state="open").identifier == "late"
    run.refresh_from_db()
    assert (run.closed_count, run.finished_at) == (4, at)
    assert set(QuarantinedEvent.objects.filter(state="dismissed").values_list("resolution")) == {
        ("a load test",)
    }


def test_a_run_needs_something_to_do_and_a_dismissal_its_reason(
    engineer: User, at: datetime
) -> None:
    with pytest.raises(NotFound):
        start_run(kind="replay", **UNKNOWN, by=engineer, at=at)
    with pytest.raises(Invalid):
        start_run(kind="dismiss", **UNKNOWN, by=engineer, at=at)


@pytest.mark.django_db(transaction=True)
def test_many_workers_replay_a_group_once() -> None:
    _wait(AT, 30)
    run = start_run(kind="replay", **UNKNOWN, by=worker_user(), at=AT)

    def work() -> None:
        for _ in range(12):
            advance_runs(at=AT)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while advance_runs(at=AT):
        pass

    run.refresh_from_db()
    assert (run.tried_count, run.closed_count) == (30, 30)
    assert MeterEvent.objects.count() == 30
    assert QuarantineRun.objects.get().finished_at == AT
