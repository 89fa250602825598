"""A period's account: worked by hand, and of a customer whose usage went every way."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from invoicing.completeness import Cause, Figures, Left, account_of
from invoicing.lines import OveragePrice

START, END = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
LATER, RUNS = END + timedelta(days=2), END + timedelta(days=1)
PRICE = OveragePrice("credit", Decimal("0.01"), "USD")
# 10 windows charged 150 credits: 100 by grants, 50 billed for 0.50.
WHOLE = Figures(
    start_at=START, end_at=END, recorded=10, rated=10, unrated={}, charged=Decimal(150),
    covered=Decimal(100), overage=Decimal(50), billed=Decimal(50), drafted=Decimal(0), price=PRICE,
    claimed_minor=50,
)  # fmt: skip


def _left(figures: Figures, at: datetime = LATER) -> list[Left]:
    account = account_of(figures, at, RUNS)
    assert account.is_complete
    return list(account.left)


def test_what_is_covered_and_billed_leaves_nothing() -> None:
    assert _left(WHOLE) == []


@pytest.mark.parametrize(
    ("change", "cause", "much"),
    [
        ({"billed": Decimal(0), "claimed_minor": 0, "drafted": Decimal(50)}, "ON_DRAFT", 50),
        ({"billed": Decimal(0), "claimed_minor": 0, "is_parked": True}, "PARKED", 50),
        ({"billed": Decimal(0), "claimed_minor": 0, "price": None}, "NO_PLAN", 50),
        ({"covered": Decimal(70), "forgiven": Decimal(30)}, "GIVEN_BACK", 30),
        # 50.4 credits are worth 0.504, which is 0.50: the 0.4 will never be worth a cent.
        ({"overage": Decimal("50.4"), "charged": Decimal("150.4")}, "TOO_SMALL", "0.4"),
        # 40 of the 100 came back by a note, and stay charged.
        ({"covered": Decimal(60), "forgiven": Decimal(40)}, "GIVEN_BACK", 40),
        # 30 credits came back after 50 were billed.
        ({"overage": Decimal(20), "charged": Decimal(120)}, "OVERCHARGED", -30),
    ],
)
def test_what_is_on_no_issued_invoice_says_why(
    change: dict[str, object], cause: str, much: object
) -> None:
    assert _left(replace(WHOLE, **change)) == [Left(Cause[cause], Decimal(str(much)))]  # type: ignore[arg-type]


def test_a_period_that_goes_on_is_billed_later() -> None:
    running = replace(WHOLE, billed=Decimal(0), claimed_minor=0)
    assert _left(running, START) == [Left(Cause.RUNNING, Decimal(50))]


def test_the_next_run_has_its_time_and_no_more() -> None:
    ended = replace(WHOLE, billed=Decimal(0), claimed_minor=0)
    assert account_of(ended, END, END - timedelta(minutes=30)).left == (
        Left(Cause.NEXT_RUN, Decimal(50)),
    )

    late = replace(ended, waits_since=LATER - timedelta(minutes=1))
    assert account_of(late, LATER, LATER - timedelta(minutes=30)).is_complete

    forgotten = account_of(ended, LATER, RUNS)

    assert (forgotten.left, forgotten.unexplained_credits) == ((), Decimal(50))
    assert not forgotten.is_complete


@pytest.mark.parametrize(
    ("change", "windows", "much"),
    [
        ({"recorded": 11}, 1, 0),  # Nobody rated it.
        ({"rated": 11}, -1, 0),  # Rated, and not recorded.
        ({"charged": Decimal(151)}, 0, 1),  # Charged, and neither drawn nor overage.
        ({"covered": Decimal(99)}, 0, 1),
    ],
)
def test_what_nothing_explains_is_named(change: dict[str, object], windows: int, much: int) -> None:
    account = account_of(replace(WHOLE, **change), LATER, RUNS)  # type: ignore[arg-type]
    assert (account.unexplained_windows, account.unexplained_credits) == (windows, Decimal(much))


def test_windows_without_a_rate_are_left_out_with_their_reason() -> None:
    assert _left(replace(WHOLE, recorded=13, unrated={Cause.NO_RATE: 2, Cause.TO_RATE: 1})) == []
