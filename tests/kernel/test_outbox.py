"""Notes for the next step: taken once, never missed."""

from datetime import datetime, timedelta

import pytest
from django.db import transaction

from billing_project.kernel import outbox

pytestmark = pytest.mark.django_db


def test_many_notes_of_one_object_are_one_job(at: datetime) -> None:
    outbox.publish("usage_changed", [7, 7, 3], at)
    outbox.publish("usage_changed", [7], at + timedelta(seconds=1))

    assert outbox.waiting("usage_changed") == [3, 7]
    assert outbox.take("usage_changed", 7) == 2
    assert outbox.waiting("usage_changed") == [3]
    assert outbox.oldest("usage_changed") == at
    assert outbox.oldest("money_changed") is None


def test_a_taker_that_fails_leaves_its_notes(at: datetime) -> None:
    outbox.publish("usage_changed", [7], at)

    with transaction.atomic():
        outbox.take("usage_changed", 7)
        transaction.set_rollback(True)

    assert outbox.waiting("usage_changed") == [7]


def test_notes_that_name_parts_are_taken_apart_from_those_of_the_whole(at: datetime) -> None:
    outbox.publish_parts("usage_changed", {7: {12, 11}, 3: {5}}, at)
    outbox.publish_parts("usage_changed", {7: {12, 13}}, at + timedelta(seconds=1))
    outbox.publish("usage_changed", [3], at)

    assert outbox.waiting_parts("usage_changed") == [
        outbox.Waiting(3, None),
        outbox.Waiting(7, 4),
    ]
    assert sorted(outbox.take_parts("usage_changed", [3, 7])) == [5, 11, 12, 13]
    assert outbox.waiting("usage_changed") == [3]
    assert outbox.oldest("usage_changed", 7) is None
