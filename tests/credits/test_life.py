"""Whatever happens to a customer's credits: the product and the plain model say the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from credits import burn_order
from credits.drawdown import STRIPE_ORDER, GrantState, Part
from credits.history import PeriodHistory, Stack
from credits.models import CreditGrant, LedgerTransaction, RatedUsage
from credits.rating import RatedSoFar
from credits.selectors import balance
from credits.services import burning, pricing
from credits.services.clawing import claw_back
from credits.services.grants import expire_due_grants, expire_grant, void_grant
from credits.services.rates import RateInput
from credits.services.reinstating import reinstate_grant
from credits.services.replaying import replay_credits
from credits.tariff import Charge, Tariff
from metering.models import Workspace
from metering.services.adjust import amend_event, cancel_event
from tests.credits.builders import NOVEMBER, Shop, make_shop
from tests.credits.plain_model import Grant, Life, Order, Price, Span, Version, Window, exact

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 12, 3, 12, tzinfo=UTC)
DECEMBER = Period(NOVEMBER.end, datetime(2027, 1, 1, tzinfo=UTC))
GRACE = timedelta(hours=24)
CHECK_EVERY = 10  # Steps.
BOOKS = ("metering", "credits")
# Few of each, so that they meet: hours in which grants begin and end, within and across periods.
HOURS = [datetime(2026, 11, 10, h, tzinfo=UTC) for h in (8, 9)] + [
    datetime(2026, 11, 20, 23, tzinfo=UTC),
    datetime(2026, 11, 30, 23, tzinfo=UTC),
    datetime(2026, 12, 1, 0, tzinfo=UTC),
    datetime(2026, 12, 3, 9, tzinfo=UTC),
]
STARTS = [datetime(2026, 10, 1, tzinfo=UTC), *(h + timedelta(minutes=30) for h in HOURS[::2])]
ENDS = [None, *(h + timedelta(minutes=m) for h in HOURS[1:] for m in (0, 30)), NOW + GRACE]
MODELS = ("small", "large", "odd")
WORKSPACES = ("", "a", "b")
AMOUNTS = ("1", "10", "3.333333333333", "250", "0.000000000001")
# What a third and its like do to the twelfth decimal is where sums go wrong.
QUANTITIES = ("0", "1", "7", "0.5", "33.333333333333", "100", "0.000000000001")
PRICES = ("0", "1", "0.5", "0.333333333333333333", "2.000000000000000001", "0.3333333333334")
_STEPS = (("10", "0.5", "1"), ("40.5", "0.333333333333333333", "0"), (None, "0.1", "2"))
TERMS: tuple[dict[str, object], ...] = (
    {"model": "package", "package": ("10", "3.333333333333")},
    {"model": "graduated", "steps": _STEPS},
    {"model": "graduated", "steps": _STEPS, "included": "5", "pools": "account"},
    {"model": "volume", "steps": _STEPS},
    {"model": "volume", "steps": _STEPS, "pools": "account"},
    {"model": "flat_fee", "fee": "7"},
    {"model": "percentage", "percent": "12.5", "minimum": "1", "maximum": "9"},
    {"model": "per_unit", "unit_price": "1", "included": "8", "maximum": "20"},
    {"model": "per_unit", "unit_price": "0.3333333333334", "pools": "account"},
)
KEYS = st.permutations(STRIPE_ORDER).flatmap(
    lambda keys: st.integers(1, len(keys)).map(lambda count: tuple(keys[:count]))
)


Terms = dict[str, Any]
Prices = dict[tuple[str, str | None], Terms]


class LifeOfCredits(RuleBasedStateMachine):
    """One customer, in a transaction that is rolled back; every rule does a thing on both sides."""

    shop: Shop  # Given by the test: it stands before every example.

    def __init__(self) -> None:
        super().__init__()
        self._undo = _rolled_back()
        self._undo.__enter__()
        self.model = Life()
        self.events: dict[str, tuple[Window, Fraction]] = {}
        self.workspaces: dict[str, Workspace] = {}
        self.steps = 0

    @initialize()
    def begin(self) -> None:
        """Take up what the shop comes with."""
        self.model.now = self.shop.at = NOW
        self.model.spans = [Span(p.start, p.end) for p in (NOVEMBER, DECEMBER)]
        for period in (NOVEMBER, DECEMBER):
            self.shop.period(period)
        for name in WORKSPACES[1:]:
            self.workspaces[name] = self.shop.workspace(name)
        flat = [{"model": "per_unit", "unit_price": price} for price in ("0.5", "2")]
        self._add_version(NOVEMBER.start, {("input", None): flat[0], ("output", None): flat[1]})
        self._add_order(STRIPE_ORDER, NOVEMBER.start)

    # What happens.

    @rule(
        amount=st.sampled_from(AMOUNTS),
        category=st.sampled_from(["paid", "promotional", "included", "goodwill"]),
        price=st.integers(1, 999),
        priority=st.sampled_from([0, 50, 50, 100]),
        effective_at=st.sampled_from(STARTS),
        expires_at=st.sampled_from(ENDS),
        workspace=st.sampled_from(WORKSPACES),
        meters=st.sampled_from([(), (), ("input",), ("output",)]),
    )
    def give(
        self,
        amount: str,
        category: str,
        price: int,
        priority: int,
        effective_at: datetime,
        expires_at: datetime | None,
        workspace: str,
        meters: tuple[str, ...],
    ) -> None:
        """Give credits."""
        if expires_at is not None and expires_at <= effective_at:
            return
        price_minor = price if category == "paid" else 0
        self.shop.grant(
            amount, category=category, price_minor=price_minor, priority=priority,
            effective_at=effective_at, expires_at=expires_at, meter_codes=meters,
            workspace=self.workspaces.get(workspace),
        )  # fmt: skip
        number = len(self.model.grants)
        self.model.give(
            Grant(
                number, Fraction(amount), category == "paid", price_minor, priority,
                effective_at, expires_at, self.shop.at, workspace or None, frozenset(meters),
            )
        )  # fmt: skip

    @rule(
        meter=st.sampled_from(["input", "output"]),
        workspace=st.sampled_from(WORKSPACES),
        model=st.sampled_from(MODELS),
        hour=st.sampled_from(HOURS),
        quantity=st.sampled_from(QUANTITIES),
        is_rated=st.booleans(),
    )
    def use(
        self, meter: str, workspace: str, model: str, hour: datetime, quantity: str, is_rated: bool
    ) -> None:
        """Report one event, and mostly rate it at once."""
        at = hour + timedelta(minutes=15)
        identifier = self.shop.use(at, workspace=workspace, model=model, **{meter: quantity})
        window = self.model.use(meter, workspace or None, model, hour, Fraction(quantity))
        self.events[identifier] = (window, Fraction(quantity))
        if is_rated:
            self.rate()

    @rule()
    def rate(self) -> None:
        """Rate what waits."""
        self.shop.rate()
        self.model.rate()

    @precondition(lambda self: self.events)
    @rule(data=st.data(), is_rated=st.booleans())
    def cancel(self, data: st.DataObject, is_rated: bool) -> None:
        """Take an event out of usage."""
        identifier = data.draw(st.sampled_from(list(self.events)))
        cancel_event(
            customer=self.shop.customer, identifier=identifier, reason="test",
            by=self.shop.maker, at=self.shop.at,
        )  # fmt: skip
        self._change(identifier, "0")
        del self.events[identifier]
        if is_rated:
            self.rate()

    @precondition(lambda self: self.events)
    @rule(data=st.data(), quantity=st.sampled_from(QUANTITIES), is_rated=st.booleans())
    def amend(self, data: st.DataObject, quantity: str, is_rated: bool) -> None:
        """Let an event count with another quantity."""
        identifier = data.draw(st.sampled_from(list(self.events)))
        window, _ = self.events[identifier]
        amend_event(
            customer=self.shop.customer, identifier=identifier, reason="test",
            properties={"model": window.model, window.meter: quantity},
            by=self.shop.maker, at=self.shop.at,
        )  # fmt: skip
        self._change(identifier, quantity)
        if is_rated:
            self.rate()

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data(), kind=st.sampled_from(["voided", "expired"]))
    def end(self, data: st.DataObject, kind: str) -> None:
        """Void or expire what is left of a grant."""
        number = data.draw(st.integers(0, len(self.model.grants) - 1))
        service = void_grant if kind == "voided" else expire_grant
        grant, held = CreditGrant.objects.order_by("pk")[number], self.model.grants[number]
        try:
            service(grant=grant, reason_code="test", by=self.shop.maker, at=self.shop.at)
        except Conflict:
            assert not held.left
            return
        is_over = held.expires_at is not None and held.expires_at <= self.shop.at
        if kind == "expired" and is_over:
            self.model.lapse(held)
        else:
            self.model.end(held, kind, self.shop.at)

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data())
    def reinstate(self, data: st.DataObject) -> None:
        """Give back what was taken from a grant by mistake."""
        number = data.draw(st.integers(0, len(self.model.grants) - 1))
        grant, held = CreditGrant.objects.order_by("pk")[number], self.model.grants[number]
        try:
            reinstate_grant(grant=grant, reason_code="test", by=self.shop.maker, at=self.shop.at)
        except Conflict:
            assert not self.model.reinstate(held)
            return
        assert self.model.reinstate(held)

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data(), reason=st.sampled_from(["refund", "dispute"]))
    def claw_back(self, data: st.DataObject, reason: str) -> None:
        """Take a purchase back, for a refund or a dispute of it."""
        number = data.draw(st.integers(0, len(self.model.grants) - 1))
        grant, held = CreditGrant.objects.order_by("pk")[number], self.model.grants[number]
        try:
            claw_back(
                grant=grant, reason=reason, reference=f"{reason} {held.root.number}",
                by=self.shop.maker, at=self.shop.at,
            )  # fmt: skip
        except Conflict:
            assert not self.model.claw_back(held)
            return
        assert self.model.claw_back(held)

    @rule()
    def expire_due(self) -> None:
        """Let lapse what is due."""
        count = expire_due_grants(by=self.shop.maker, at=self.shop.at, grace=GRACE)
        assert count == self.model.expire_due(GRACE)

    @rule(
        effective_at=st.sampled_from([h - timedelta(minutes=20) for h in HOURS]),
        prices=st.dictionaries(
            st.tuples(
                st.sampled_from(["input", "output"]), st.sampled_from([None, "small", "large"])
            ),
            st.sampled_from([*({"model": "per_unit", "unit_price": p} for p in PRICES), *TERMS]),
            min_size=1,
        ),
    )
    def price(self, effective_at: datetime, prices: Prices) -> None:
        """Approve another version of the rate card; some models may have no price."""
        self._add_version(effective_at, prices)

    @rule(keys=KEYS, effective_at=st.sampled_from(STARTS))
    def order(self, keys: tuple[str, ...], effective_at: datetime) -> None:
        """Approve another burn order."""
        self._add_order(keys, effective_at)

    @rule(hours=st.integers(1, 12))
    def wait(self, hours: int) -> None:
        """Let time pass."""
        self.shop.at += timedelta(hours=hours)
        self.model.now = self.shop.at

    # What has to hold.

    @invariant()
    def agrees_now_and_then(self) -> None:
        """Compare every few steps."""
        self.steps += 1
        if self.steps % CHECK_EVERY == 0:
            self.agrees()

    def teardown(self) -> None:
        """Compare at the end, look through all the books, and take everything back."""
        try:
            if self.steps:
                self.agrees()
                with connection.cursor() as cursor:
                    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        finally:
            self._undo.__exit__(None, None, None)

    def agrees(self) -> None:
        """Compare all facts to the last digit, balances of the past, and the books."""
        assert self._rated() == self._rated_by_model()
        assert self._ledger() == self._ledger_by_model()
        grants = CreditGrant.objects.order_by("pk").values_list("amount", "remaining")
        assert list(grants) == [(exact(g.amount), exact(g.left)) for g in self.model.grants]
        for instant in (HOURS[1], HOURS[3], self.shop.at):
            figures = balance(self.shop.customer, instant)
            assert sum((f.ledger for f in figures), Decimal(0)) == exact(
                self.model.balance(instant)
            )
        assert replay_credits(self.shop.customer.pk).differences == ()
        assert [f for result in run_checks(BOOKS) for f in result.findings] == []

    # How the two are compared.

    def _rated(self) -> list[tuple[object, ...]]:
        rows = RatedUsage.objects.order_by("pk").exclude(quantity=0, drawn=0, overage=0)
        rows = rows.select_related("window__meter", "window__workspace", "rate_card_version")
        return [
            (
                row.window.meter.code, _name(row.window.workspace), row.window.dimensions["model"],
                row.window.start_at, row.rate_card_version.number,
                row.quantity, row.drawn, row.overage,
            )
            for row in rows
        ]  # fmt: skip

    def _rated_by_model(self) -> list[tuple[object, ...]]:
        return [
            (
                window.meter, window.workspace, window.model, window.start, row.version,
                exact(row.quantity), exact(row.drawn), exact(row.overage),
            )
            for row in self.model.rated
            for window in [self.model.windows[row.window]]
        ]  # fmt: skip

    def _ledger(self) -> list[tuple[object, ...]]:
        rows = LedgerTransaction.objects.order_by("pk").select_related(
            "rated_usage__window__meter", "rated_usage__window__workspace", "credit_policy"
        )
        ids = CreditGrant.objects.order_by("pk").values_list("pk", flat=True)
        numbers = {pk: number for number, pk in enumerate(ids)}
        return [
            (
                numbers[row.grant_id], row.kind, row.credits, row.cost_unrounded,
                row.effective_at, row.recorded_at,
                row.credit_policy.number if row.credit_policy else None,
                _place(row.rated_usage),
            )
            for row in rows
        ]  # fmt: skip

    def _ledger_by_model(self) -> list[tuple[object, ...]]:
        places = [(w.meter, w.workspace, w.model, w.start) for w in self.model.windows]
        return [
            (
                row.grant, row.kind, exact(row.credits), exact(row.cost),
                row.effective_at, row.recorded_at, row.order,
                None if row.window is None else places[row.window],
            )
            for row in self.model.ledger
        ]  # fmt: skip

    def _change(self, identifier: str, quantity: str) -> None:
        window, before = self.events[identifier]
        after = Fraction(quantity)
        self.model.use(window.meter, window.workspace, window.model, window.start, after - before)
        self.events[identifier] = (window, after)

    def _add_version(self, effective_at: datetime, prices: Prices) -> None:
        rates = [_rate(meter, model, price) for (meter, model), price in prices.items()]
        # No two versions of a card begin at the same instant.
        effective_at += timedelta(microseconds=len(self.model.versions))
        number = self.shop.version(rates, effective_at).number
        self.model.versions.append(
            Version(
                number,
                effective_at,
                tuple(_price(number, m, d, price) for (m, d), price in prices.items()),
            )
        )

    def _add_order(self, keys: tuple[str, ...], effective_at: datetime) -> None:
        number = self.shop.policy(keys, effective_at).number
        self.model.orders.append(Order(number, effective_at, tuple(keys)))


def _rate(meter: str, model: str | None, said: Terms) -> RateInput:
    """Write a price as the product takes it."""
    terms: dict[str, object] = {}
    match said["model"]:
        case "package":
            terms = dict(zip(("size", "price"), said["package"], strict=True))
        case "graduated" | "volume":
            names = ("up_to", "unit_price", "flat_fee")
            terms = {"tiers": [dict(zip(names, step, strict=True)) for step in said["steps"]]}
        case "flat_fee" | "percentage" as name:
            key = "fee" if name == "flat_fee" else "percent"
            terms = {key: said[key]}
    bounds = {
        name: Decimal(said[name]) for name in ("included", "minimum", "maximum") if name in said
    }
    return RateInput(
        meter, {"model": model} if model else {}, Decimal(said.get("unit_price", "0")),
        said["model"], terms, pools=said.get("pools", "workspace"), **bounds,
    )  # fmt: skip


def _price(version: int, meter: str, model: str | None, said: Terms) -> Price:
    """Write a price as the plain model takes it."""
    names = ("unit_price", "fee", "percent", "included", "minimum", "maximum")
    return Price(
        version, meter, model, said["model"],
        steps=tuple(
            (None if upper is None else Fraction(upper), Fraction(price), Fraction(fee))
            for upper, price, fee in said.get("steps", ())
        ),
        package=_pair(said.get("package", ("0", "0"))),
        is_pooled=said.get("pools") == "account",
        **{name: Fraction(said[name]) for name in names if name in said},
    )  # fmt: skip


def _pair(said: tuple[str, str]) -> tuple[Fraction, Fraction]:
    return Fraction(said[0]), Fraction(said[1])


def _name(workspace: Workspace | None) -> str | None:
    return workspace.external_id if workspace else None


def _place(row: RatedUsage | None) -> tuple[object, ...] | None:
    if row is None:
        return None
    window = row.window
    return (
        window.meter.code, _name(window.workspace), window.dimensions["model"], window.start_at
    )  # fmt: skip


@contextmanager
def _rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


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
    return make_shop(maker, approver, NOW)


def test_the_product_and_the_plain_model_agree(market: Shop) -> None:
    _run(market, 50, 40)


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
        life.price(STARTS[1], {("input", None): flat[0], ("output", None): flat[1]})
        for hour, quantity in ((eight, "1"), (eight, "7"), (nine, "1"), (nine, "33.333333333333")):
            life.use("input", "a", "small", hour, quantity, True)
        life.use("output", "b", "large", nine, "7", True)
        life.amend(_Scripted(3), "0.5", True)
        life.cancel(_Scripted(0), True)
        life.agrees()
    finally:
        life.teardown()


def test_one_life_written_out(market: Shop) -> None:
    _live(market)


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
