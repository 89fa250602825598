"""A customer's billing periods never overlap, whoever asks."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from billing_project.kernel import outbox
from billing_project.kernel.errors import Conflict, IdempotencyConflict
from billing_project.kernel.period import Period
from credits.models import BillingPeriod
from credits.services.periods import open_billing_period
from tests.credits.builders import NOVEMBER, Shop

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def _open(shop: Shop, period: Period, source_key: str) -> BillingPeriod:
    return open_billing_period(
        customer=shop.customer, rate_card=shop.card, period=period, source_key=source_key,
        at=shop.at,
    )  # fmt: skip


def test_the_same_key_opens_once_and_rings_for_rating(shop: Shop) -> None:
    december = Period(NOVEMBER.end, NOVEMBER.end + 31 * DAY)

    assert _open(shop, december, "december") == _open(shop, december, "december")
    assert BillingPeriod.objects.count() == 2
    assert outbox.waiting("usage_changed") == [shop.customer.pk]


def test_the_same_key_for_another_period_is_refused(shop: Shop) -> None:
    _open(shop, Period(NOVEMBER.end, NOVEMBER.end + DAY), "december")

    with pytest.raises(IdempotencyConflict):
        _open(shop, Period(NOVEMBER.end, NOVEMBER.end + 2 * DAY), "december")


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (29, 31), (3, 4), (-1, 40)])
def test_an_overlap_is_refused(shop: Shop, start: int, end: int) -> None:
    period = Period(NOVEMBER.start + start * DAY, NOVEMBER.start + end * DAY)

    with pytest.raises(Conflict, match="overlaps"):
        _open(shop, period, "other")


def test_postgresql_refuses_an_overlap_too(shop: Shop) -> None:
    with pytest.raises(IntegrityError, match="billing_period_no_overlap"), transaction.atomic():
        BillingPeriod.objects.create(
            customer=shop.customer, rate_card=shop.card, source_key="by hand",
            start_at=NOVEMBER.start + DAY, end_at=NOVEMBER.end + DAY,
        )  # fmt: skip
