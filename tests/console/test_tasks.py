"""The worker's tasks: doorbells that may be lost, doubled or killed."""

import logging
import threading
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django_q.models import OrmQ, Schedule

from billing_project.console import tasks

pytestmark = pytest.mark.django_db

_STEPS = [
    "metering.tasks.aggregate",
    "credits.tasks.rate",
    "revrec.tasks.recognise",
    "invoicing.tasks.renew",
    "invoicing.tasks.draft_overage",
    "invoicing.tasks.finalize",
]


def test_schedules_are_written_once_and_old_ones_go() -> None:
    Schedule.objects.create(name="chain", func="billing_project.console.tasks.move_chain")
    tasks.ensure_schedules()
    tasks.ensure_schedules()

    names = Schedule.objects.order_by("name").values_list("name", flat=True)
    assert list(names) == [
        "alert rules", "alerts", "anomalies", "audit packs", "backfills", "billing", "books",
        "checkpoints", "collecting", "expiry", "forecast", "holds", "imports", "invoice mails",
        "lag", "limits", "mirror",
        "partitions", "reconciliation", "recurring grants", "usage",
        "webhook retention", "webhooks",
    ]  # fmt: skip


def test_the_queue_follows_its_rules() -> None:
    cluster: dict[str, Any] = settings.Q_CLUSTER

    assert cluster["retry"] > cluster["timeout"] > tasks.CHAIN_SECONDS
    assert cluster["max_attempts"] == 5
    assert cluster["orm"] == "default"
    assert cluster["queue_limit"] <= cluster["workers"]


def test_every_task_can_be_asked_for_at_once() -> None:
    tasks.ring_all()

    assert OrmQ.objects.count() == len(tasks.SCHEDULES)


def test_an_empty_house_has_nothing_to_do() -> None:
    assert tasks.drain_chain() == 0

    tasks.run_billing()


@pytest.mark.django_db(transaction=True)
def test_a_loop_steps_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(tasks, "USAGE_SECONDS", 0.01)
    for name in _STEPS[:3]:
        monkeypatch.setattr(name, _counting(name, taken))

    tasks.move_usage(seconds=0.3)

    assert len(taken) >= 4
    assert set(taken) == {"metering.tasks.aggregate", "credits.tasks.rate"}


@pytest.mark.django_db(transaction=True)
def test_one_run_of_a_loop_works_and_the_other_stands_by(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(tasks, "STANDBY_SECONDS", 0.01)
    monkeypatch.setattr("revrec.tasks.recognise_gathered", _counting("books", taken))
    assert tasks._leads("books")

    second = threading.Thread(target=tasks.move_books, args=[0.1])
    second.start()
    second.join()
    assert taken == []

    connection.close()  # The first run ends, or is killed.
    third = threading.Thread(target=tasks.move_books, args=[0.1])
    third.start()
    third.join()
    assert taken != []


@pytest.mark.django_db(transaction=True)
def test_a_run_that_fails_does_not_keep_its_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    leads = tasks._leads

    def fail(name: str) -> bool:
        assert leads(name)
        raise OperationalError("too slow")

    monkeypatch.setattr(tasks, "_leads", fail)
    with pytest.raises(OperationalError):
        tasks.move_books(0.1)

    assert connection.connection is None


def _counting(name: str, taken: list[str]) -> Any:
    def step() -> int:
        taken.append(name)
        return 1

    step.__name__ = name
    return step


@pytest.mark.parametrize(
    ("failing", "run"),
    [
        ("invoicing.tasks.renew", tasks.run_billing),
        ("invoicing.tasks.draft_overage", tasks.run_billing),
        ("metering.tasks.aggregate", tasks.step_chain),
        ("credits.tasks.rate", tasks.step_chain),
    ],
)
def test_a_step_that_fails_does_not_stop_the_next_ones(
    failing: str, run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[str] = []

    def stand_in(name: str) -> Any:
        def step() -> int:
            taken.append(name)
            assert name != failing, "poison"
            return 1

        step.__name__ = name
        return step

    for name in _STEPS:
        monkeypatch.setattr(name, stand_in(name))
    with caplog.at_level(logging.ERROR):
        run()

    assert taken == [name for name in _STEPS if name in taken]
    assert len(taken) == 3
    assert [(record.message, record.item) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("step_failed", failing)
    ]
