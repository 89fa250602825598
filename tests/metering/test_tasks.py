"""The worker's tasks: each may run twice, at any time."""

from datetime import datetime
from typing import Any

import pytest
from django.db import connection

from metering import tasks
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clock(settings: Any) -> None:
    settings.BILLING_CLOCK = "2031-11-30T23:59:59Z"


def test_partitions_are_made_for_this_month_and_two_ahead() -> None:
    assert [tasks.make_partitions(), tasks.make_partitions()] == [3, 0]
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('meter_event_2032_01') IS NOT NULL")
        assert cursor.fetchone()[0]


def test_waiting_batches_are_aggregated(at: datetime) -> None:
    a_customer(at)
    a_meter(at)
    send(at, an_event())

    assert [tasks.aggregate(), tasks.aggregate()] == [1, 0]
