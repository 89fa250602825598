"""When credits run out at the pace of the last days, and who is told, once."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_project.kernel.period import Period
from credits.forecast import Pace, runs_out_before
from credits.models import Alert, AlertKind, LimitWindow
from credits.services.counting import watch_limits
from credits.services.forecasting import forecast_balances
from tests.credits.builders import NOVEMBER, Shop
from tests.credits.test_services_authorizing import NOON, ask, limit

WEEK = Period(datetime(2026, 11, 13, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC))


@pytest.mark.parametrize(
    ("used", "left", "day"),
    [
        ("70", "30", 23),  # 70 / 7 = 10 a day; 30 / 10 = 3 days.
        ("70", "109", 30),  # 10.9 days: before 1 December, on the 30th.
        ("70", "110", None),  # 11 days: to the end exactly.
        ("0", "30", None),
        ("-5", "30", None),  # Corrections only.
        ("70", "0", None),  # It is used up: no forecast.
    ],
)
def test_worked_examples(used: str, left: str, day: int | None) -> None:
    out = runs_out_before(Pace(WEEK, Decimal(used), Decimal(left)), NOVEMBER.end)

    assert (out and out.day) == day


@given(st.decimals("0.01", 1000, places=2), st.decimals("0.01", 1000, places=2))
def test_more_left_never_runs_out_sooner(used: Decimal, left: Decimal) -> None:
    end = WEEK.end + timedelta(days=400)
    less, more = (runs_out_before(Pace(WEEK, used, part), end) for part in (left, left * 2))

    assert more is None or (less is not None and less <= more)


@pytest.fixture
def busy(shop: Shop) -> Shop:
    """Return a shop that used 70 of 100 credits in the last seven days."""
    shop.grant("100")
    for day in range(14, 21):
        shop.use(datetime(2026, 11, day, 1, tzinfo=UTC), input="20")
    shop.rate()
    return shop


def _told() -> list[str]:
    found = Alert.objects.filter(kind=AlertKind.FORECAST).order_by("pk")
    return list(found.values_list("title", flat=True))


@pytest.mark.django_db
def test_a_balance_that_will_not_do_is_told_once(busy: Shop) -> None:
    assert forecast_balances(at=NOON) == 1
    assert forecast_balances(at=NOON + timedelta(hours=1)) == 0

    assert _told() == ["Credits (credit) run out on 2026-11-23 at this pace"]
    assert Alert.objects.get().facts["left"] == "30"


@pytest.mark.django_db
def test_a_grant_that_will_do_ends_it_and_one_that_will_not_is_told_anew(busy: Shop) -> None:
    forecast_balances(at=NOON)
    busy.grant("1")
    assert forecast_balances(at=NOON) == 1

    busy.grant("100")
    assert forecast_balances(at=NOON) == 0


@pytest.mark.django_db
def test_what_is_held_is_as_good_as_used(busy: Shop) -> None:
    busy.grant("85")  # 115 left at 10 a day: to the end.
    assert forecast_balances(at=NOON) == 0

    ask(busy, "60", ttl_seconds=3600)

    assert forecast_balances(at=NOON) == 1


@pytest.mark.django_db
def test_a_limit_that_will_be_reached_is_told_once_in_its_window(busy: Shop) -> None:
    limit(busy, "150", LimitWindow.MONTH)
    for _ in range(2):
        watch_limits(customer=busy.customer, at=NOON)

    # 80 left at 10 a day.
    assert _told() == ["cap is reached on 2026-11-28 12:00 UTC at this pace"]


@pytest.mark.django_db
def test_a_limit_that_lasts_is_not_told(busy: Shop) -> None:
    limit(busy, "400", LimitWindow.MONTH)
    limit(busy, "11", LimitWindow.HOUR, code="hourly")

    watch_limits(customer=busy.customer, at=NOON)

    assert _told() == []
