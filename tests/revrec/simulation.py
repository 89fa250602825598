"""A shop's books in memory: random events, posted by the rules alone, with sub-ledgers beside them.

What a customer owes, is owed and was promised is kept here as plain figures, event by event; the
ledger is made by the posting rules. After each event both must say the same.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal
from random import Random

from billing_project.kernel.period import DAY, month_of
from revrec.accrual import DayUse, Price, accruals, borne
from revrec.basis import CostBasis, Movement, releases
from revrec.breakage import Cohort, contra_target, never_used, trued_up
from revrec.crediting import Promise, Reason, split_credit
from revrec.disclosures import RollForward
from revrec.impairment import Loss, Unpaid, losses, recovery
from revrec.losing import LostPart, recovered, written_off
from revrec.posting import (
    About,
    Account,
    CreditedPart,
    Lines,
    Settled,
    balance_applied,
    credit_note_issued,
    credits_expired,
    credits_used,
    fee_earned,
    fee_invoiced,
    overage_invoiced,
    overage_used,
    pack_invoiced,
    payment_received,
    refunded,
)
from revrec.provider import dispute_opened, fee_kept, overpaid
from revrec.schedule import straight_line

START = date(2026, 1, 1)
RATE = Decimal("0.1")  # Of packs' prices that is expected to break.
USD = About("USD")
_REASONS = (Reason.GOODWILL, Reason.CANCEL_FUTURE, Reason.BILLING_ERROR)


@dataclass
class Sold:
    """One promise with its claim: a fee, a pack, or a period's overage."""

    liability: Account
    price: int
    claim: int  # Still open.
    sold_on: date
    basis: CostBasis | None = None
    used: Decimal = Decimal(0)
    ended: Decimal = Decimal(0)
    recognised: int = 0
    broken: int = 0
    plan: dict[date, int] = field(default_factory=dict)
    planned: tuple[date, date] = (START, START)
    paid: int = 0
    disputed: int = 0
    given_up: Loss = field(default_factory=lambda: Loss(0, 0))

    @property
    def deferred(self) -> int:
        return self.price - self.recognised


class World:
    """The shop on one day after another; every public step is one event."""

    def __init__(self, seed: int) -> None:
        self.random, self.today = Random(seed), START
        self.ledger: Counter[Account] = Counter()
        self.moved: dict[str, Counter[Account]] = defaultdict(Counter)  # By kind, since the close.
        self.sold: list[Sold] = []
        self.price = Price(Decimal("0.0173"), "USD")
        self.overage, self.unbilled, self.conceded = Decimal(0), 0, 0
        self.balance = self.opening = 0

    def post(self, kind: str, lines: Lines) -> None:
        for line in lines:
            self.ledger[line.account] += line.amount_minor
            self.moved[kind][line.account] += line.amount_minor

    # Events.

    def sell_fee(self) -> None:
        price, days = self.random.randint(1, 9_999), self.random.choice((7, 28, 30, 31, 90))
        one = Sold(Account.FEES_LIABILITY, price, price, self.today)
        one.planned = (self.today, self.today + timedelta(days=days))
        one.plan = {d.service_on: d.amount_minor for d in straight_line(price, *one.planned)}
        self.sold.append(one)
        self.post("billed", fee_invoiced(price, USD))

    def sell_pack(self) -> None:
        price, count = self.random.randint(1, 9_999), Decimal(self.random.randint(1, 500))
        one = Sold(Account.CREDITS_LIABILITY, price, price, self.today, CostBasis(price, count))
        self.sold.append(one)
        self.post("billed", pack_invoiced(price, USD))

    def use(self) -> None:
        """Draw from the first pack with credits; what no pack covers is overage."""
        wanted = Decimal(self.random.randint(1, 3_000)) / 10
        for one in self.sold:
            if one.basis is None or one.disputed:
                continue
            part = min(wanted, one.basis.credits - one.used - one.ended)
            if part:
                self._move(one, Movement(1, self.today, -part))
                wanted -= part
        self._overage(wanted)

    def cancel_overage(self) -> None:
        """Usage that was reported by mistake goes away again."""
        if self.overage:
            self._overage(-min(self.overage, Decimal(self.random.randint(1, 900)) / 10))

    def invoice_overage(self) -> None:
        amount = self.unbilled
        if amount > 0:
            self.unbilled = 0
            self.sold.append(Sold(Account.UNBILLED, amount, amount, self.today, recognised=amount))
            self.post("billed", overage_invoiced(amount, USD))

    def expire(self) -> None:
        for one in self.sold:
            left = one.basis.credits - one.used - one.ended if one.basis else Decimal(0)
            if one.basis and left and self.random.random() < Decimal("0.4"):
                self._move(one, Movement(2, self.today, -left, ends_grant=True))
                return

    def pay(self) -> None:
        if one := self._pick(lambda s: s.claim > 0):
            amount = self.random.choice((one.claim, max(1, one.claim // 3)))
            self._settle(one, amount)
            one.paid += amount
            self.post("paid", payment_received(amount, USD))
            self.post("paid", fee_kept(amount // 40, False, USD))

    def overpay(self) -> None:
        amount = self.random.randint(1, 500)
        self.balance += amount
        self.post("paid", overpaid(amount, USD))

    def apply_balance(self) -> None:
        if self.balance and (one := self._pick(lambda s: s.claim > 0)):
            amount = min(self.balance, one.claim)
            self.balance -= amount
            self._settle(one, amount)
            self.post("paid", balance_applied(amount, USD))

    def refund(self) -> None:
        if self.balance:
            amount = self.random.randint(1, self.balance)
            self.balance -= amount
            self.post("paid", refunded(amount, USD))

    def credit(self) -> None:
        """Take something off a fee or a pack: off the claim first, the rest is owed back."""
        one = self._pick(lambda s: s.price > 0 and s.liability != Account.UNBILLED
                         and not s.disputed and not sum(vars(s.given_up).values()))  # fmt: skip
        if one is None:
            return
        amount = self.random.randint(1, one.price)
        split = split_credit(self._promise(one), amount, self.random.choice(_REASONS))
        open_part = min(amount, one.claim)
        one.price -= amount
        one.recognised -= split.contra_minor
        one.claim -= open_part
        self.balance += amount - open_part
        if one.plan:
            self._replan(one)
        if one.basis:
            one.basis = CostBasis(one.basis.price_minor, one.basis.credits, one.price)
        part = CreditedPart(one.liability, split.contra_minor, split.liability_minor, USD)
        settled = Settled(open_part, owed_minor=amount - open_part)
        self.post("credited", credit_note_issued([part], settled, USD))
        if one.basis:
            self._give_up(one, one.basis)

    def write_off(self) -> None:
        """Give an unpaid fee up for good: what is not delivered ends with it."""
        one = self._pick(lambda s: s.claim > 0 and bool(s.plan) and not s.disputed)
        if one is None:
            return
        [loss] = losses(one.claim, [Unpaid(one.price, one.price, one.recognised)])
        part = LostPart(one.liability, loss.impaired_minor, loss.released_minor, USD)
        self.post("credited", written_off([part], one.claim, USD))
        one.given_up, one.claim = loss, 0
        one.price -= loss.released_minor
        self._replan(one)

    def recover(self) -> None:
        one = self._pick(lambda s: sum(vars(s.given_up).values()) > 0)
        if one is None:
            return
        [back] = recovery(sum(vars(one.given_up).values()), [one.given_up])
        part = LostPart(one.liability, back.impaired_minor, back.released_minor, USD)
        self.post("credited", recovered([part], back.impaired_minor + back.released_minor, USD))
        one.price += back.released_minor
        one.given_up = Loss(0, 0)
        self._replan(one)

    def dispute(self) -> None:
        """The bank parks a payment, or gives it back."""
        if one := self._pick(lambda s: s.disputed > 0):
            self.post("paid", dispute_opened(-one.disputed, USD))
            one.disputed = 0
        elif one := self._pick(lambda s: s.paid > 0):
            one.disputed = one.paid
            self.post("paid", dispute_opened(one.disputed, USD))
            self.post("paid", fee_kept(1_500, True, USD))

    def wait(self) -> None:
        """Let days pass; each fee earns the days that have ended, a month that ends is closed."""
        for _ in range(self.random.randint(1, 9)):
            for one in self.sold:
                amount = one.plan.pop(self.today, 0)
                one.recognised += amount
                self.post("fees", fee_earned(amount, USD))
            before, self.today = self.today, self.today + DAY
            if month_of(before) != month_of(self.today):
                self.close()

    def close(self) -> None:
        """True breakage up, and explain how the liabilities came to their closing."""
        by_month: dict[date, list[Sold]] = defaultdict(list)
        for one in self.sold:
            if one.basis:
                by_month[month_of(one.sold_on)[0]].append(one)
        target = sum(map(self._target, by_month.values()))
        self.post("broken", trued_up(target, self.ledger[Account.EXPECTED_BREAKAGE], USD))
        held = self.ledger[Account.EXPECTED_BREAKAGE]
        assert held == target
        assert 0 <= held <= max(-self.ledger[Account.CREDITS_LIABILITY], 0)
        moved = {kind: self._deferred(rows) for kind, rows in self.moved.items()}
        rolled = RollForward(
            self.opening, moved.pop("billed", 0), -(moved.pop("fees", 0) + moved.pop("used", 0)),
            breakage_minor=-moved.pop("broken", 0), credit_notes_minor=-moved.pop("credited", 0),
        )  # fmt: skip
        assert not any(moved.values())
        assert rolled.closing_minor == self._deferred(self.ledger)
        self.opening = rolled.closing_minor
        self.moved.clear()

    # What must hold after every event.

    def tie(self) -> None:
        def total(pick: Callable[[Sold], int]) -> int:
            return sum(map(pick, self.sold))

        def deferred_on(account: Account) -> int:
            return sum(one.deferred for one in self.sold if one.liability == account)

        ledger = self.ledger
        assert sum(ledger.values()) == 0
        assert -ledger[Account.CREDITS_LIABILITY] == deferred_on(Account.CREDITS_LIABILITY)
        assert -ledger[Account.FEES_LIABILITY] == deferred_on(Account.FEES_LIABILITY)
        assert ledger[Account.RECEIVABLE] == total(lambda s: s.claim)
        assert ledger[Account.UNBILLED] == self.unbilled
        assert -ledger[Account.CUSTOMER_BALANCE] == self.balance
        assert ledger[Account.DISPUTED] == total(lambda s: s.disputed)
        assert ledger[Account.IMPAIRMENT] == total(lambda s: s.given_up.impaired_minor)
        assert -ledger[Account.OVERAGE_REVENUE] == self.price.of(self.overage)
        for one in self.sold:
            assert 0 <= one.recognised <= one.price
            assert not one.plan or sum(one.plan.values()) == one.deferred

    # The parts of events.

    def _pick(self, fits: Callable[[Sold], bool]) -> Sold | None:
        found = [one for one in self.sold if fits(one)]
        return self.random.choice(found) if found else None

    def _settle(self, one: Sold, amount: int) -> None:
        one.claim -= amount

    def _move(self, one: Sold, movement: Movement) -> None:
        assert one.basis is not None
        [step] = releases(one.basis, one.used, one.recognised, [movement], one.ended)
        one.recognised += step.amount_minor
        if movement.ends_grant:
            one.ended -= movement.credits
            one.broken += step.amount_minor
        else:
            one.used -= movement.credits
        rule = credits_expired if step.is_breakage else credits_used
        self.post("broken" if step.is_breakage else "used", rule(step.amount_minor, USD))

    def _give_up(self, one: Sold, basis: CostBasis) -> None:
        """Take away the credits that what is left of the price does not pay for any more."""
        left = basis.credits - one.used - one.ended
        paid_for = max(one.deferred - 1, 0) * basis.credits / basis.price_minor
        gone = left - min(left, paid_for.quantize(Decimal("0.1"), ROUND_DOWN))
        if gone:
            self._move(one, Movement(3, self.today, -gone, ends_grant=True))

    def _overage(self, change: Decimal) -> None:
        [step] = accruals(
            self.overage, [DayUse(self.today, {None: change})], self.price, self.conceded
        )
        assert step.conceded_minor == borne(0, self.conceded)
        self.overage += change
        self.unbilled += step.amount_minor
        self.post("overage", overage_used(step.amount_minor, USD, step.conceded_minor))

    def _promise(self, one: Sold) -> Promise:
        if one.basis:
            return Promise(one.price, one.recognised, one.used, one.basis.credits)
        start, end = one.planned
        done = max(0, (min(self.today, end) - start).days)
        return Promise(one.price, one.recognised, Decimal(done), Decimal((end - start).days))

    def _replan(self, one: Sold) -> None:
        """Plan what is left over the days that are left; on none, all at once."""
        start, end = one.planned
        first = min(max(self.today, start), end - DAY)
        one.planned = (start, max(end, first + DAY))
        first = self.today if self.today >= end else first
        days = straight_line(one.deferred, first, max(end, first + DAY))
        one.plan = {day.service_on: day.amount_minor for day in days}

    def _target(self, cohort: list[Sold]) -> int:
        """Return what 2190 must hold for the packs of one month."""
        open_minor = sum(s.deferred for s in cohort)
        ended = sum(s.broken for s in cohort)
        price = sum(s.price for s in cohort)
        consumed = max(price - open_minor - ended, 0)
        unused = never_used(Cohort(consumed, open_minor), price, RATE)
        return contra_target(consumed, open_minor - unused, unused)

    @staticmethod
    def _deferred(rows: Counter[Account]) -> int:
        accounts = (Account.CREDITS_LIABILITY, Account.FEES_LIABILITY, Account.EXPECTED_BREAKAGE)
        return -sum(rows[account] for account in accounts)


EVENTS: tuple[Callable[[World], None], ...] = (
    World.sell_fee, World.sell_pack, World.use, World.use, World.use, World.cancel_overage,
    World.invoice_overage, World.expire, World.pay, World.pay, World.overpay, World.apply_balance,
    World.refund, World.credit, World.write_off, World.recover, World.dispute, World.wait,
    World.wait,
)  # fmt: skip


def live(seed: int, events: int) -> World:
    """Let random events happen; every tie-out holds after each of them."""
    world = World(seed)
    for _ in range(events):
        world.random.choice(EVENTS)(world)
        world.tie()
    return world
