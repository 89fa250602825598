"""Usage is known by the UTC hour: each hour belongs to one period, and none is lost."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_project.kernel.errors import Conflict
from billing_project.kernel.period import Period, hour_of
from credits import checks
from credits.models import BillingPeriod, RatedUsage
from credits.selectors import overage_of_period
from credits.selectors.facts import INSTANT, Rulebook
from credits.services.periods import open_billing_period
from credits.services.rates import create_rate_card
from tests.credits.builders import DAY_10, Shop, make_customer, rate

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
# Midnight in Kolkata is 18:30 UTC; in Kathmandu 18:15.
BOUNDARIES = [datetime(2026, 11, 10, 18, minute, tzinfo=UTC) for minute in (0, 15, 30, 45)]


@pytest.fixture
def elsewhere(shop: Shop) -> Shop:
    """Return a shop whose customer has no billing period yet."""
    customer = make_customer("elsewhere", shop.maker, shop.at)
    return Shop(customer, shop.unit, shop.card, shop.maker, shop.approver, shop.at)


def _open(shop: Shop, start: datetime, end: datetime) -> BillingPeriod:
    return open_billing_period(
        customer=shop.customer, rate_card=shop.card, period=Period(start, end),
        source_key=f"test:{start}", at=shop.at,
    )  # fmt: skip


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_each_hour_belongs_to_exactly_one_of_two_periods_that_meet(
    elsewhere: Shop, boundary: datetime
) -> None:
    first = _open(elsewhere, boundary - 10 * HOUR, boundary)
    second = _open(elsewhere, boundary, boundary + 10 * HOUR)
    rules = Rulebook(elsewhere.customer.pk)

    one, other = rules.hours_of(first), rules.hours_of(second)

    assert (one.start, other.end) == (
        hour_of(first.start_at),
        hour_of(second.end_at - INSTANT) + HOUR,
    )
    assert one.end == other.start  # No hour twice, none left out.
    hour = one.start
    while hour < other.end:
        assert rules.period_of(hour) == (first if hour in one else second)
        hour += HOUR


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_nothing_that_was_used_around_a_boundary_is_lost_or_rated_twice(
    elsewhere: Shop, boundary: datetime
) -> None:
    _open(elsewhere, boundary - 10 * HOUR, boundary)
    second = _open(elsewhere, boundary, boundary + 10 * HOUR)
    for minutes in (-40, -10, 10, 40, 70):
        elsewhere.use(boundary + timedelta(minutes=minutes), input="2")

    elsewhere.rate()

    assert sum(row.quantity for row in RatedUsage.objects.all()) == 10
    assert overage_of_period(second) > 0
    for check in (checks.windows_are_rated, checks.no_window_is_forgotten):
        assert not list(check())


def test_the_first_half_hour_after_a_local_midnight_is_billed_with_the_period_before(
    elsewhere: Shop,
) -> None:
    midnight = datetime(2026, 11, 10, 18, 30, tzinfo=UTC)  # In Kolkata.
    first = _open(elsewhere, midnight - 10 * HOUR, midnight)
    second = _open(elsewhere, midnight, midnight + 10 * HOUR)
    elsewhere.use(midnight + timedelta(minutes=15), input="2")  # 00:15, by the hour of 18:00 UTC.
    elsewhere.use(midnight + timedelta(minutes=30), input="6")  # 01:00, by the hour of 19:00 UTC.

    elsewhere.rate()

    assert overage_of_period(first) == 1
    assert overage_of_period(second) == 3


def test_a_period_that_comes_later_takes_no_hour_that_was_rated(elsewhere: Shop) -> None:
    start = DAY_10 + timedelta(minutes=17)  # 9:47: with nothing before it, it takes all of nine.
    _open(elsewhere, start, start + 10 * HOUR)
    elsewhere.use(start + timedelta(minutes=3), input="2")
    elsewhere.rate()

    with pytest.raises(Conflict, match="rated its first hour"):
        _open(elsewhere, start - 10 * HOUR, start)

    assert _open(elsewhere, start - 10 * HOUR, start - HOUR)


def test_rates_that_begin_with_their_period_price_its_first_hour(elsewhere: Shop) -> None:
    noon = datetime(2026, 12, 2, 12, 30, tzinfo=UTC)
    card = create_rate_card(
        code="new", name="New", pricing_unit=elsewhere.unit, by=elsewhere.maker, at=elsewhere.at
    )
    shop = Shop(
        elsewhere.customer, elsewhere.unit, card, elsewhere.maker, elsewhere.approver, noon + HOUR
    )
    shop.version([rate("input", "3")], noon)
    _open(shop, noon, noon + 10 * HOUR)
    shop.use(noon + timedelta(minutes=5), input="2")

    shop.rate()

    assert [row.charge for row in RatedUsage.objects.all()] == [6]  # 2 x 3
