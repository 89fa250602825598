"""When credits run out at the pace of the last days, and who is told, once."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from hypothesis import given
from hypothesis import strategies as st

from billing_project.kernel.period import Period
from credits.forecast import Pace, is_said_again, runs_out_before
from credits.models import Alert, AlertKind, LimitWindow
from credits.services.controls import acknowledge_alert
from credits.services.counting import watch_limits
from credits.services.forecasting import forecast_balances
from credits.services.telling import tell_alerts
from tests.credits.builders import NOVEMBER, Shop
from tests.credits.test_services_authorizing import NOON, ask, limit

WEEK = Period(datetime(2026, 11, 13, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC))


DAYS = {
    "steady": (10,) * 7,  # Without the busiest 60 / 6 = 10 a day.
    "growing": (4, 6, 8, 10, 12, 14, 16),  # (70 - 16) / 6 = 9 a day.
    "burst": (64, 1, 1, 1, 1, 1, 1),  # (70 - 64) / 6 = 1 a day.
    "new": (0, 0, 0, 0, 20, 20, 30),  # Three days of seven.
    "workdays": (0, 0, 14, 14, 14, 14, 14),  # (70 - 14) / 6 = 9 1/3 a day.
    "corrected": (10, 10, -30, 10, 10, 10, 10),  # (30 - 10) / 6 = 3 1/3 a day.
    "idle": (0,) * 7,
    "undone": (-1, 1, 1, 1, 1, -9, -9),  # (-15 - 1): nothing was used.
}


@pytest.mark.parametrize(
    ("days", "left", "day"),
    [
        ("steady", "30", 23),  # 30 / 10 = 3 days.
        ("steady", "70", 27),  # 7 days: as far as was looked back.
        ("steady", "71", None),  # Farther than that nobody is sure.
        ("steady", "0", None),  # It is used up: no forecast.
        ("growing", "54", 26),  # 54 / 9 = 6 days.
        ("burst", "8", None),  # 8 days at 1 a day; with the burst 0.8 of a day.
        ("burst", "2", 22),
        ("new", "30", None),
        ("workdays", "28", 23),  # 28 / 9 1/3 = 3 days.
        ("corrected", "10", 23),  # 10 / 3 1/3 = 3 days.
        ("idle", "30", None),
        ("undone", "30", None),
    ],
)
def test_worked_examples(days: str, left: str, day: int | None) -> None:
    pace = Pace(WEEK, tuple(Decimal(used) for used in DAYS[days]), Decimal(left))

    out = runs_out_before(pace, NOVEMBER.end)

    assert (out and out.day) == day


@pytest.mark.parametrize(("ends_in", "day"), [(3, None), (4, 23)])
def test_what_ends_within_a_part_of_the_end_is_not_sure(ends_in: int, day: int | None) -> None:
    pace = Pace(WEEK, (Decimal(10),) * 7, Decimal(30))  # 3 days.

    out = runs_out_before(pace, WEEK.end + timedelta(days=ends_in))

    assert (out and out.day) == day


amounts = st.decimals("-10", 1000, places=2)


@given(st.lists(amounts, min_size=7, max_size=7), st.decimals("0.01", 1000, places=2))
def test_more_left_never_runs_out_sooner(used: list[Decimal], left: Decimal) -> None:
    end = WEEK.end + timedelta(days=400)
    less, more = (runs_out_before(Pace(WEEK, tuple(used), one), end) for one in (left, left * 2))

    assert more is None or (less is not None and less <= more)


@given(st.permutations(range(7)), st.decimals("0.01", 1000, places=2))
def test_what_is_said_comes_true_without_the_busiest_day(used: list[int], left: Decimal) -> None:
    pace = Pace(WEEK, tuple(Decimal(one) for one in used), left)
    out = runs_out_before(pace, WEEK.end + timedelta(days=400))

    if out is not None:  # (0 + 1 + 2 + 3 + 4 + 5) / 6 = 2.5 a day.
        seconds = (out - WEEK.end) // timedelta(seconds=1)
        assert abs(Decimal(seconds) / 86_400 * Decimal("2.5") - left) < Decimal("0.0001")


@pytest.mark.parametrize(("left", "again"), [("30", False), ("59", False), ("60", True)])
def test_it_is_said_again_once_there_is_twice_as_much(left: str, *, again: bool) -> None:
    assert is_said_again(Decimal(30), Decimal(left)) == again


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
def test_a_few_credits_more_are_no_news_and_as_many_again_are(busy: Shop) -> None:
    forecast_balances(at=NOON)
    busy.grant("29")  # 59 left.
    assert forecast_balances(at=NOON) == 0

    busy.grant("1")
    assert forecast_balances(at=NOON) == 1
    assert forecast_balances(at=NOON) == 0


@pytest.mark.django_db
def test_what_is_held_is_as_good_as_used(busy: Shop) -> None:
    busy.grant("41")  # 71 left at 10 a day: farther than anybody is sure.
    assert forecast_balances(at=NOON) == 0

    ask(busy, "2", ttl_seconds=3600)

    assert forecast_balances(at=NOON) == 1


@pytest.mark.django_db
def test_a_limit_that_will_be_reached_is_told_once_in_its_window(busy: Shop) -> None:
    limit(busy, "130", LimitWindow.MONTH)
    for _ in range(2):
        watch_limits(customer=busy.customer, at=NOON)

    # 60 left at 10 a day.
    assert _told() == ["cap is reached on 2026-11-26 12:00 UTC at this pace"]


@pytest.mark.django_db
def test_a_limit_by_day_is_looked_at_by_hours(busy: Shop) -> None:
    for hour in range(6, 12):
        busy.use(NOON.replace(hour=hour), input="20")
    busy.rate()
    limit(busy, "100", LimitWindow.DAY)

    watch_limits(customer=busy.customer, at=NOON)

    # 10 at one o'clock and 60 since six; 30 left at 10 an hour.
    assert _told() == ["cap is reached on 2026-11-20 15:00 UTC at this pace"]


@pytest.mark.django_db
def test_nothing_is_added_to_a_limit_that_warned_at_eighty(busy: Shop) -> None:
    limit(busy, "87.5", LimitWindow.MONTH)

    watch_limits(customer=busy.customer, at=NOON)

    assert _told() == []
    assert Alert.objects.get().title == "cap is used up to 80 %"


@pytest.mark.django_db
def test_a_limit_that_lasts_is_not_told(busy: Shop) -> None:
    limit(busy, "400", LimitWindow.MONTH)
    limit(busy, "11", LimitWindow.HOUR, code="hourly")

    watch_limits(customer=busy.customer, at=NOON)

    assert _told() == []


@pytest.mark.django_db
def test_alerts_are_mailed_once_and_what_failed_is_mailed_by_the_next_look(
    busy: Shop, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALERT_EMAILS = ["oncall@example.com"]
    forecast_balances(at=NOON)

    def refuse(*_: object) -> int:
        raise ConnectionRefusedError("no mail server")

    with monkeypatch.context() as away:
        away.setattr(EmailBackend, "send_messages", refuse)
        tell_alerts(at=NOON)
    for _ in range(2):
        tell_alerts(at=NOON)

    (message,) = mail.outbox
    assert (message.subject, message.to) == ("Billing: 1 new alert", ["oncall@example.com"])
    assert "acme: Credits (credit) run out on 2026-11-23 at this pace" in message.body
    assert Alert.objects.get().told_at == NOON


@pytest.mark.django_db
@pytest.mark.parametrize("people", [[], ["oncall@example.com"]])
def test_what_nobody_wants_by_mail_or_somebody_looks_after_is_not_mailed(
    busy: Shop, settings: Any, people: list[str]
) -> None:
    settings.ALERT_EMAILS = people
    forecast_balances(at=NOON)
    if people:
        acknowledge_alert(alert=Alert.objects.get(), note="mine", by=busy.maker, at=NOON)

    assert tell_alerts(at=NOON) == 0
    assert mail.outbox == []
