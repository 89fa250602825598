"""What the worker runs."""

import pytest
from pytest_django import Settings

from revrec.models import JournalEntry
from revrec.tasks import recognise
from tests.revrec.builders import Shop

pytestmark = pytest.mark.django_db


def test_the_worker_posts_through_the_last_ended_day(shop: Shop, settings: Settings) -> None:
    settings.BILLING_CLOCK = "2026-01-04T12:00:00+00:00"
    shop.subscriber("2026-01-01", fee=3_100)

    assert (recognise(), recognise()) == (4, 0)
    assert set(JournalEntry.objects.values_list("recorded_by__username", flat=True)) == {"worker"}
