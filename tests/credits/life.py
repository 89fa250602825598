"""A machine that does one thing after the other to a customer's credits, and to the plain model.

`test_life` runs it, with random things and with a life that is written out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import count
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from billing_project.kernel.approvals import Proposal, reject, withdraw
from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, Insufficient, Invalid
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.period import Period
from credits.drawdown import BURN_KEYS, STRIPE_ORDER
from credits.models import (
    BillingPeriod,
    CreditGrant,
    GrantTerms,
    LedgerTransaction,
    RatedUsage,
    RecurringGrant,
)
from credits.selectors import balance
from credits.selectors.taken import why_not_taken_back
from credits.services.clawing import claw_back
from credits.services.forgiving import forgive_usage, take_again
from credits.services.freezing import freeze_grant, thaw_grant
from credits.services.grants import expire_due_grants, expire_grant, void_grant
from credits.services.overrides import propose_rate_migration, propose_rate_override
from credits.services.policies import propose_credit_policy
from credits.services.rates import RateInput, propose_rate_card_version
from credits.services.recurring import (
    create_recurring_grant,
    end_recurring_grant,
    give_recurring_grants,
)
from credits.services.reinstating import reinstate_grant
from credits.services.replaying import replay_credits
from credits.services.terms import TermsInput, issue_under_terms, propose_grant_terms
from metering.models import Workspace
from metering.services.adjust import amend_event, cancel_event
from metering.services.meters import create_meter
from tests.credits.builders import NOVEMBER, Shop, make_shop, words
from tests.credits.plain_model import (
    OF_PERIOD,
    Grant,
    Life,
    Order,
    Pin,
    Price,
    Recurring,
    Span,
    Terms,
    Version,
    Window,
    exact,
    is_ambiguous,
)

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
KEYS = st.permutations(sorted(BURN_KEYS)).flatmap(
    lambda keys: st.integers(1, len(keys)).map(lambda count: tuple(keys[:count]))
)
METERS = ("input", "output", *OF_PERIOD)
SCOPES = ((), (), ("input",), ("output", "peak"))
FATES = ("approved", "approved", "approved", "waits", "rejected", "withdrawn")
# Grant terms that stand before the life begins, by code.
AGREED = {
    "third": TermsInput(
        "included", life_days=9, rollover="fraction", rollover_value=Decimal("0.333333333333")
    ),
    "capped": TermsInput(
        "promotional", 20, 5, meter_codes=("input",), rollover="cap", rollover_value=Decimal(2),
        return_days=3,
    ),
    "whole": TermsInput(
        "paid", life_days=20, rollover="fraction", rollover_value=Decimal(1), refund_rule="never"
    ),
}  # fmt: skip
Said = dict[str, Any]
# By meter, model and workspace; None is any. Some lists price the same usage twice: refused.
Prices = dict[tuple[str, str | None, str | None], Said]
PRICE_LISTS = st.dictionaries(
    st.tuples(
        st.sampled_from(METERS),
        st.sampled_from([None, "small", "large"]),
        st.sampled_from([None, None, "a", "b", "*"]),
    ),
    st.sampled_from([*({"model": "per_unit", "unit_price": p} for p in PRICES), *TERMS]),
    min_size=1,
)
INSTANTS = st.sampled_from([h - timedelta(minutes=20) for h in HOURS])
LENGTHS = st.sampled_from([None, None, None, timedelta(hours=1), timedelta(days=10)])


class LifeOfCredits(RuleBasedStateMachine):
    """One customer, in a transaction that is rolled back; every rule does a thing on both sides."""

    shop: Shop  # Given by the test: it stands before every example.

    def __init__(self) -> None:
        super().__init__()
        self._undo = _rolled_back()
        self._undo.__enter__()
        self.model = Life()
        self.events: dict[str, Window] = {}
        self.workspaces: dict[str, Workspace] = {}
        self.disputes: dict[int, str] = {}  # Names of the last ones, by purchase.
        self.waiting: list[tuple[PolicyChange, Callable[[], None]]] = []
        self.numbers = count()
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
        meters = zip(METERS, flat * 2, strict=True)
        self.price(NOVEMBER.start, {(meter, None, None): said for meter, said in meters})
        self.order(STRIPE_ORDER, NOVEMBER.start)

    # What happens.

    @rule(
        amount=st.sampled_from(AMOUNTS),
        category=st.sampled_from(["paid", "promotional", "included", "goodwill"]),
        price=st.integers(1, 999),
        priority=st.sampled_from([0, 50, 50, 100]),
        effective_at=st.sampled_from(STARTS),
        expires_at=st.sampled_from(ENDS),
        workspace=st.sampled_from(WORKSPACES),
        meters=st.sampled_from(SCOPES),
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
        code=st.sampled_from(sorted(AGREED)),
        amount=st.sampled_from(AMOUNTS),
        effective_at=st.sampled_from(STARTS),
    )
    def give_as_agreed(self, code: str, amount: str, effective_at: datetime) -> None:
        """Give credits under terms: what is left at their end may roll over."""
        price_minor = 100 if AGREED[code].category == "paid" else 0
        issue_under_terms(
            terms=GrantTerms.objects.get(code=code), customer=self.shop.customer,
            amount=Decimal(amount), pricing_unit=self.shop.unit, reason_code="test",
            source_key=f"life:{next(self.numbers)}", effective_at=effective_at,
            price_minor=price_minor, by=self.shop.maker, at=self.shop.at,
        )  # fmt: skip
        self.model.give(self._agreed(code, amount, effective_at, price_minor))

    @rule(
        code=st.sampled_from(["third", "capped"]),
        amount=st.sampled_from(AMOUNTS),
        start_at=st.sampled_from(STARTS),
        unit=st.sampled_from(["day", "week"]),
        count_=st.integers(3, 9),
    )
    def recur(self, code: str, amount: str, start_at: datetime, unit: str, count_: int) -> None:
        """Let the same credits be given every few days or weeks."""
        create_recurring_grant(
            customer=self.shop.customer, terms=GrantTerms.objects.get(code=code),
            pricing_unit=self.shop.unit, amount=Decimal(amount), interval_unit=unit,
            interval_count=count_, start_at=start_at, reason_code="test",
            source_key=f"life:{next(self.numbers)}", by=self.shop.maker, at=self.shop.at,
        )  # fmt: skip
        grant = self._agreed(code, amount, start_at, 0)
        assert grant.expires_at is not None
        days = count_ * (7 if unit == "week" else 1)
        life = grant.expires_at - start_at
        self.model.recurring.append(Recurring(grant, life, timedelta(days=days)))

    @precondition(lambda self: self.model.recurring)
    @rule(data=st.data(), until=st.sampled_from(HOURS))
    def stop_recurring(self, data: st.DataObject, until: datetime) -> None:
        """Let a rule give nothing from an instant on."""
        number = data.draw(st.sampled_from(range(len(self.model.recurring))))
        held, row = self.model.recurring[number], RecurringGrant.objects.order_by("pk")[number]
        try:
            end_recurring_grant(
                rule=row, until_at=until, reason="test", by=self.shop.maker, at=self.shop.at
            )
        except Conflict:
            assert held.until is not None
            assert held.until < until
            return
        held.until = max(until, held.grant.effective_at)

    @rule()
    def give_due(self) -> None:
        """Give what recurs, all that was missed at once."""
        count_ = give_recurring_grants(by=self.shop.maker, at=self.shop.at)
        assert count_ == self.model.give_due()

    @rule(
        meter=st.sampled_from(METERS),
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
        at = hour + timedelta(minutes=15, microseconds=next(self.numbers))
        identifier = self.shop.use(at, workspace=workspace, model=model, **{meter: quantity})
        window = self.model.use(meter, workspace or None, model, hour)
        window.events[identifier] = Fraction(quantity)
        self.events[identifier] = window
        if is_rated:
            self.rate()

    @precondition(lambda self: self.events)
    @rule(data=st.data(), hour=st.sampled_from(HOURS), quantity=st.sampled_from(QUANTITIES))
    def use_again(self, data: st.DataObject, hour: datetime, quantity: str) -> None:
        """Report more of what was used before, in the same hour or another one."""
        used = self.events[data.draw(st.sampled_from(list(self.events)))]
        self.use(used.meter, used.workspace or "", used.model, hour, quantity, True)

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
        window = self.events.pop(identifier)
        del window.events[identifier]
        window.is_changed = True
        if is_rated:
            self.rate()

    @precondition(lambda self: self.events)
    @rule(data=st.data(), quantity=st.sampled_from(QUANTITIES), is_rated=st.booleans())
    def amend(self, data: st.DataObject, quantity: str, is_rated: bool) -> None:
        """Let an event count with another quantity."""
        identifier = data.draw(st.sampled_from(list(self.events)))
        window = self.events[identifier]
        amend_event(
            customer=self.shop.customer, identifier=identifier, reason="test",
            properties={"model": window.model, window.meter: quantity},
            by=self.shop.maker, at=self.shop.at,
        )  # fmt: skip
        window.events[identifier] = Fraction(quantity)
        window.is_changed = True
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

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data())
    def dispute(self, data: st.DataObject) -> None:
        """Let the payment of a purchase be disputed, or its dispute end."""
        number = data.draw(st.integers(0, len(self.model.grants) - 1))
        grant, held = CreditGrant.objects.order_by("pk")[number], self.model.grants[number]
        words: dict[str, Any] = {"grant": grant, "by": self.shop.maker, "at": self.shop.at}
        if held.root.number in self.model.frozen:
            thaw_grant(reference=self.disputes[held.root.number], **words)
            self.model.thaw(held)
        else:
            self.disputes[held.root.number] = f"dispute {next(self.numbers)}"
            freeze_grant(reference=self.disputes[held.root.number], **words)
            self.model.freeze(held)

    @precondition(lambda self: any(w.price for w in self.model.windows))
    @rule(data=st.data(), much=st.sampled_from(["0.000000000001", "1", "7", "all", "more"]))
    def forgive(self, data: st.DataObject, much: str) -> None:
        """Give credits back for usage that stays charged, as a credit note does."""
        priced = [w for w in self.model.windows if w.price]
        window = priced[data.draw(st.integers(0, len(priced) - 1))]
        self.model.rate()
        most, number = self.model.forgivable(window), next(self.numbers)
        amount = {"all": most, "more": most + 1}.get(much)
        if amount is None:
            amount = Fraction(much)
        if not amount:
            self.shop.rate()
            return
        try:
            forgive_usage(
                period=self._period(window), rated=_rows_of(window), amount=exact(amount),
                key=f"note:{number}", by=self.shop.maker, at=self.shop.at,
            )  # fmt: skip
        except Insufficient:
            assert amount > most
            self.shop.rate()  # As the model has; the refusal took it back.
            return
        assert amount <= most
        self.model.forgive(number, window, amount)

    @precondition(lambda self: self.model.notes)
    @rule(data=st.data())
    def unforgive(self, data: st.DataObject) -> None:
        """Void a credit note that gave credits back."""
        self.model.rate()
        notes = self.model.notes
        note = notes[data.draw(st.integers(0, len(notes) - 1))]
        try:
            with transaction.atomic():
                take_again(
                    period=self._period(note.window), key=f"note:{note.number}",
                    by=self.shop.maker, at=self.shop.at,
                )  # fmt: skip
        except Conflict:
            self.shop.rate()  # As the model has; the refusal took it back.
            assert not self.model.unforgive(note)
            return
        assert self.model.unforgive(note)

    @rule()
    def expire_due(self) -> None:
        """Let lapse what is due."""
        count = expire_due_grants(by=self.shop.maker, at=self.shop.at, grace=GRACE)
        assert count == self.model.expire_due(GRACE)

    @rule(
        effective_at=INSTANTS, prices=PRICE_LISTS, length=LENGTHS, fate=st.sampled_from(FATES),
        stays=st.booleans(),
    )  # fmt: skip
    def price(
        self,
        effective_at: datetime,
        prices: Prices,
        length: timedelta | None = None,
        fate: str = "approved",
        stays: bool = False,
    ) -> None:
        """Propose another version of the rate card; some models may have no price."""
        effective_at = self._apart(effective_at)
        kept = self.model.chosen(effective_at) if stays else None
        try:
            version = propose_rate_card_version(
                rate_card=self.shop.card, rates=_rates(prices),
                proposal=_words(effective_at, length),
                stays=[self.shop.customer] if kept else [], by=self.shop.maker, at=self.shop.at,
            )  # fmt: skip
        except Invalid:
            assert is_ambiguous(prices)
            return
        assert not is_ambiguous(prices)
        held = _version(version.number, effective_at, length, prices)
        pin = Pin(next(self.numbers), effective_at, kept, held.expires_at)

        def governs() -> None:
            self.model.versions.append(held)
            if kept:
                self.model.pins.append(pin)

        self._decide(version.policy_change, governs, fate)

    @rule(
        effective_at=INSTANTS, prices=st.one_of(PRICE_LISTS, st.just({})), length=LENGTHS,
        fate=st.sampled_from(FATES),
    )  # fmt: skip
    def override(
        self, effective_at: datetime, prices: Prices, length: timedelta | None, fate: str
    ) -> None:
        """Propose prices of the customer's own, before those of the card; or none any more."""
        effective_at = self._apart(effective_at)
        try:
            version = propose_rate_override(
                customer=self.shop.customer, base=self.shop.card, rates=_rates(prices),
                proposal=_words(effective_at, length), by=self.shop.maker, at=self.shop.at,
            )  # fmt: skip
        except Invalid:
            assert is_ambiguous(prices)
            return
        assert not is_ambiguous(prices)
        held = _version(version.number, effective_at, length, prices, is_own=True)
        self._decide(version.policy_change, lambda: self.model.overrides.append(held), fate)

    @rule(data=st.data(), effective_at=INSTANTS, fate=st.sampled_from(FATES))
    def move(self, data: st.DataObject, effective_at: datetime, fate: str) -> None:
        """Propose that the customer moves to a version of the card, or follows it again."""
        held = data.draw(st.sampled_from([None, *self.model.versions]))
        try:
            change = propose_rate_migration(
                rate_card=self.shop.card, customers=[self.shop.customer],
                version=self.shop.card.versions.get(number=held.number) if held else None,
                proposal=words(effective_at), by=self.shop.maker, at=self.shop.at,
            )  # fmt: skip
        except Invalid:
            assert held is not None
            assert held.effective_at > effective_at
            return
        pin = Pin(next(self.numbers), effective_at, held)
        self._decide(change, lambda: self.model.pins.append(pin), fate)

    @rule(keys=KEYS, effective_at=st.sampled_from(STARTS), fate=st.sampled_from(FATES))
    def order(self, keys: tuple[str, ...], effective_at: datetime, fate: str = "approved") -> None:
        """Propose another burn order."""
        policy = propose_credit_policy(
            burn_order=keys, proposal=words(effective_at), by=self.shop.maker, at=self.shop.at
        )
        held = Order(policy.number, effective_at, tuple(keys))
        self._decide(policy.policy_change, lambda: self.model.orders.append(held), fate)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), fate=st.sampled_from(FATES))
    def decide(self, data: st.DataObject, fate: str) -> None:
        """Decide on what waits, maybe long after it should begin: what was rated stays."""
        number = data.draw(st.sampled_from(range(len(self.waiting))))
        self._decide(*self.waiting.pop(number), fate)

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
        for grant, held in zip(CreditGrant.objects.order_by("pk"), self.model.grants, strict=True):
            if held.origin is None:  # A credit note of it asks this.
                assert (why_not_taken_back(grant) == "") == self.model.is_taken_back(held)
        assert replay_credits(self.shop.customer.pk).differences == ()
        assert [f for result in run_checks(BOOKS) for f in result.findings] == []

    # How the two are compared.

    def _rated(self) -> list[tuple[object, ...]]:
        rows = RatedUsage.objects.order_by("pk").exclude(quantity=0, drawn=0, overage=0, forgiven=0)
        rows = rows.select_related(
            "window__meter", "window__workspace", "rate_card_version__rate_card"
        )
        return [
            (
                row.window.meter.code, _name(row.window.workspace), row.window.dimensions["model"],
                row.window.start_at, row.rate_card_version.number,
                row.rate_card_version.rate_card.base_id is not None, row.quantity, row.drawn,
                row.overage, row.forgiven,
            )
            for row in rows
        ]  # fmt: skip

    def _rated_by_model(self) -> list[tuple[object, ...]]:
        return [
            (
                window.meter, window.workspace, window.model, window.start, row.price.version,
                row.price.is_own, exact(row.quantity), exact(row.drawn), exact(row.overage),
                exact(row.forgiven),
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

    def _agreed(self, code: str, amount: str, effective_at: datetime, price_minor: int) -> Grant:
        said = AGREED[code]
        assert said.life_days is not None
        return Grant(
            len(self.model.grants), Fraction(amount), said.category == "paid", price_minor,
            said.priority, effective_at, effective_at + timedelta(days=said.life_days),
            self.shop.at, None, frozenset(said.meter_codes),
            terms=Terms(
                said.rollover, Fraction(said.rollover_value or 0), said.return_days,
                said.refund_rule != "never",
            ),
        )  # fmt: skip

    def _period(self, window: Window) -> BillingPeriod:
        return self.shop.period(NOVEMBER if window.start < NOVEMBER.end else DECEMBER)

    def _apart(self, effective_at: datetime) -> datetime:
        """Return an instant of its own: no two versions of a card begin at the same one."""
        return effective_at + timedelta(microseconds=next(self.numbers))

    def _decide(self, change: PolicyChange, governs: Callable[[], None], fate: str) -> None:
        """Do on both sides what becomes of a proposal; only an approval changes anything."""
        change.refresh_from_db()
        if fate == "approved":
            self.shop.approve(change)
            governs()
        elif fate == "rejected":
            reject(change=change, by=self.shop.approver, reason="no", at=self.shop.at)
        elif fate == "withdrawn":
            withdraw(change=change, by=self.shop.maker, reason="no", at=self.shop.at)
        else:
            self.waiting.append((change, governs))


def _rows_of(window: Window) -> QuerySet[RatedUsage]:
    """List what was rated of a window, as the lines of an invoice would."""
    return RatedUsage.objects.filter(
        window__meter__code=window.meter, window__workspace__external_id=window.workspace,
        window__dimensions__model=window.model, window__start_at=window.start,
    )  # fmt: skip


def _words(effective_at: datetime, length: timedelta | None) -> Proposal:
    return words(effective_at, effective_at + length if length else None)


def _rates(prices: Prices) -> list[RateInput]:
    return [_rate(*place, price) for place, price in prices.items()]


def _version(
    number: int, start: datetime, length: timedelta | None, prices: Prices, *, is_own: bool = False
) -> Version:
    return Version(
        number,
        start,
        tuple(_price(number, *place, said, is_own=is_own) for place, said in prices.items()),
        start + length if length else None,
    )


def _rate(meter: str, model: str | None, workspace: str | None, said: Said) -> RateInput:
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
    named = {"model": model, "workspace": workspace}
    return RateInput(
        meter, {name: value for name, value in named.items() if value},
        Decimal(said.get("unit_price", "0")), said["model"], terms,
        pools=said.get("pools", "workspace"), **bounds,
    )  # fmt: skip


def _price(
    version: int,
    meter: str,
    model: str | None,
    workspace: str | None,
    said: Said,
    *,
    is_own: bool = False,
) -> Price:
    """Write a price as the plain model takes it."""
    names = ("unit_price", "fee", "percent", "included", "minimum", "maximum")
    return Price(
        version, meter, model, said["model"], workspace=workspace,
        steps=tuple(
            (None if upper is None else Fraction(upper), Fraction(price), Fraction(fee))
            for upper, price, fee in said.get("steps", ())
        ),
        package=_pair(said.get("package", ("0", "0"))),
        is_pooled=said.get("pools") == "account",
        is_own=is_own,
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


def make_market(maker: User, approver: User) -> Shop:
    """Return a shop in December, with November still open to late usage."""
    shop = make_shop(maker, approver, NOW)
    for code, aggregation in OF_PERIOD.items():
        create_meter(
            code=code, name=code, event_name=code, aggregation=aggregation, unit="token",
            value_property=code, dimensions=("model",), by=maker, at=NOW,
        )  # fmt: skip
    for code, terms in AGREED.items():
        version = propose_grant_terms(
            code=code, terms=terms, proposal=words(STARTS[0]), by=maker, at=NOW
        )
        shop.approve(version.policy_change)
    return shop
