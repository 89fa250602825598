"""The worker's tasks: doorbells that may be lost, doubled or killed."""

from typing import Any

import pytest
from django.conf import settings
from django_q.models import OrmQ, Schedule

from billing_project.console import tasks

pytestmark = pytest.mark.django_db


def test_schedules_are_written_once() -> None:
    tasks.ensure_schedules()
    tasks.ensure_schedules()

    names = Schedule.objects.order_by("name").values_list("name", flat=True)
    assert list(names) == ["billing", "chain", "expiry", "partitions"]


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
