"""What the worker calls: rating at once, expiry after its grace."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from credits.models import CreditGrant
from credits.rollover import end_of
from credits.services import grants
from credits.tasks import expire_grants, rate
from tests.credits.builders import DAY_10, Shop

pytestmark = pytest.mark.django_db


def test_the_worker_rates_what_waits(shop: Shop, settings: Any) -> None:
    settings.BILLING_CLOCK = shop.at.isoformat()
    shop.use(input="2")

    assert rate() == 1
    assert rate() == 0


def test_the_worker_expires_grants_a_day_after_their_end(shop: Shop, settings: Any) -> None:
    shop.grant("10", expires_at=DAY_10)

    settings.BILLING_CLOCK = (DAY_10 + timedelta(hours=23)).isoformat()
    assert expire_grants() == 0
    settings.BILLING_CLOCK = (DAY_10 + timedelta(hours=24)).isoformat()
    assert expire_grants() == 1


def test_a_grant_that_cannot_expire_does_not_hold_up_the_others(
    shop: Shop, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = shop.grant("10", expires_at=DAY_10)
    other = shop.grant("20", expires_at=DAY_10 + timedelta(hours=1))
    roll = end_of

    def failing(remaining: Decimal, *terms: Any) -> Any:
        if remaining == 10:
            raise ArithmeticError
        return roll(remaining, *terms)

    monkeypatch.setattr(grants, "end_of", failing)
    settings.BILLING_CLOCK = (DAY_10 + timedelta(days=2)).isoformat()

    assert expire_grants() == 1
    assert [CreditGrant.objects.get(pk=one.pk).remaining for one in (faulty, other)] == [10, 0]
