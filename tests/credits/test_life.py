"""Whatever happens to a customer's credits: the product and the plain model say the same."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from billing_project.kernel.models import User
from credits import burn_order
from credits.drawdown import GrantState, Part
from credits.history import PeriodHistory, Stack
from credits.models import RatedUsage
from credits.rating import RatedSoFar
from credits.rollover import Ending
from credits.selectors.prices import Prices
from credits.services import burning, grants, pricing
from credits.tariff import Charge, Tariff
from tests.credits.builders import Shop
from tests.credits.life import ENDS, HOURS, STARTS, LifeOfCredits, make_market

pytestmark = pytest.mark.django_db


def _run(shop: Shop, examples: int, steps: int) -> None:
    machine = type("Life", (LifeOfCredits,), {"shop": shop})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, database=None,
            phases=[Phase.generate], report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


@pytest.fixture
def market(maker: User, approver: User) -> Shop:
    """Return a shop in December, with November still open to late usage."""
    return make_market(maker, approver)


def test_the_product_and_the_plain_model_agree(market: Shop) -> None:
    _run(market, 10, 40)


@pytest.mark.long
def test_the_product_and_the_plain_model_agree_for_long(market: Shop) -> None:
    _run(market, 1_000, 40)


class _Scripted:
    """Stands in for Hypothesis where a life is written out: draws what it was given."""

    def __init__(self, index: int) -> None:
        self._index = index

    def draw(self, strategy: st.SearchStrategy[object]) -> object:
        """Choose one of the things that could be drawn."""
        return list(strategy.elements)[self._index]  # type: ignore[attr-defined]


def _live(shop: Shop) -> None:
    """Live through what each mutant below gets wrong, and compare."""
    life = type("Life", (LifeOfCredits,), {"shop": shop})()
    try:
        life.begin()
        eight, nine = HOURS[:2]
        life.give("10", "promotional", 1, 50, STARTS[0], nine, "", ())
        life.give("10", "paid", 100, 50, STARTS[0], ENDS[-1], "", ())
        life.give("1", "goodwill", 1, 50, STARTS[0], HOURS[3], "", ())
        flat = [{"model": "per_unit", "unit_price": p} for p in ("0.3333333333334", "2")]
        life.price(STARTS[1], {("input", None, None): flat[0], ("output", None, None): flat[1]})
        for hour, quantity in ((eight, "1"), (eight, "7"), (nine, "1"), (nine, "33.333333333333")):
            life.use("input", "a", "small", hour, quantity, True)
        life.use("output", "b", "large", nine, "7", True)
        life.amend(_Scripted(3), "0.5", True)
        life.cancel(_Scripted(0), True)
        life.override(STARTS[1], {("input", "small", None): flat[1]}, None, "approved")
        life.override(HOURS[2], {("output", None, "a"): flat[0]}, None, "approved")
        life.move(_Scripted(1), HOURS[2] - timedelta(minutes=20), "approved")
        life.recur("third", "100", STARTS[0], "day", 9)
        life.give_due()
        life.wait(24)
        life.expire_due()
        for meter in ("input", "output", "peak"):
            for hour, quantity in ((HOURS[2], "7"), (HOURS[3], "1")):
                life.use(meter, "a", "small", hour, quantity, True)
        life.agrees()
    finally:
        life.teardown()


def test_one_life_written_out(market: Shop) -> None:
    _live(market)


def test_who_stays_for_a_version_that_expires_stays_no_longer(market: Shop) -> None:
    """One version holds for ten days; the next begins after it, and names nobody who stays."""
    life = type("Life", (LifeOfCredits,), {"shop": market})()
    try:
        life.begin()
        one, two = ({("input", None, None): {"model": "per_unit", "unit_price": p}} for p in "12")
        ten_days = timedelta(days=10)
        life.price(HOURS[0], one, ten_days, stays=True)
        life.price(HOURS[0] + ten_days, two)
        for hour in (HOURS[0] + timedelta(hours=1), HOURS[0] + ten_days + timedelta(hours=1)):
            life.use("input", "a", "small", hour, "7", True)
        numbers = RatedUsage.objects.order_by("pk").values_list("rate_card_version__number")
        life.agrees()

        assert [number for (number,) in numbers] == [2, 4]
    finally:
        life.teardown()


def _oldest_first(history: PeriodHistory, stack: Stack) -> Iterator[Part]:
    return iter([*_draws_at(history, stack)][::-1])


def _rounded_apart(
    so_far: RatedSoFar, quantity: Decimal, tariff: Tariff
) -> tuple[Charge, RatedSoFar]:
    charge = tariff.charge(abs(quantity)).total.copy_sign(quantity)
    return Charge(charge, ()), so_far.plus(quantity, charge)


_draws_at = PeriodHistory.draws_at
_LAST_FIRST = replace(
    burn_order.KEYS["expiry"],
    value=lambda grant: -grant.expires_at.timestamp() if grant.expires_at else 0,
)
_MUTANTS = {
    "the oldest draw is given back first": (PeriodHistory, "draws_at", _oldest_first),
    "grants never expire": (
        GrantState, "admits", lambda grant, use: replace(grant, expires_at=None)._admits(use),
    ),
    "what expires last burns first": (
        burn_order, "KEYS", {**burn_order.KEYS, "expiry": _LAST_FIRST},
    ),
    "freed credits cover nothing": (burning, "cover_overage", lambda *_: []),
    "differences are rounded, not totals": (pricing, "advance", _rounded_apart),
    "no workspace has a price of its own": (Prices, "_by_workspace", frozenset()),
    "overrides price nothing": (Prices, "overrides", {}),
    "nobody stays at a version": (Prices, "pins", {}),
    "nothing rolls over": (grants, "end_of", lambda left, *_: Ending(Decimal(0), left)),
    "every hour of a peak counts": (pricing, "period_quantity", lambda window, *_: window.quantity),
}  # fmt: skip


@pytest.mark.parametrize("name", _MUTANTS)
def test_a_broken_product_is_found_out(
    market: Shop, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Show that the comparison has power; the random machine finds each of these, too."""
    monkeypatch.setattr(GrantState, "_admits", GrantState.admits, raising=False)
    monkeypatch.setattr(*_MUTANTS[name])

    with pytest.raises(AssertionError):
        _live(market)
