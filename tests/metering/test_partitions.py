"""Partitions are made once, by whoever comes first, and nobody gets an error for coming second."""

import threading
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction

from metering.services import storing

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
