"""Work out anew what rated usage was charged and who paid, fact by fact, and say what differs.

The facts of one customer go in, in the order in which they became known; nothing that was stored
of a result is believed: charges follow from quantities and rates, drawdowns from the charges before
and the pinned burn order, remaining credits from every step. Knows no tables.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import chain
from operator import attrgetter

from credits.costing import cost_of
from credits.drawdown import (
    Drawdown,
    GrantState,
    Part,
    Use,
    cover_overage,
    draw_down,
    give_back,
    newest_first,
)
from credits.history import PeriodHistory, Unpaid
from credits.rating import RatedSoFar, advance
from credits.replay_facts import ClawBackFact, EntryFact, GrantFact, RatedFact, Told
from credits.rollover import Ending, end_of
from credits.tariff import Tier

_ZERO = Decimal(0)
_BURNS = ("drawn", "returned")
_BY_TIME = ("due", "returned_after_end")  # Reasons: usage from before may still burn these.
_TAKEN = ("voided", "expired", "reinstated")  # A person can give back what these sum to.
_AT_END = ("due", "rolled_over")
_FROZEN, _THAWED = "disputed", "dispute_closed"


@dataclass(frozen=True)
class Difference:
    """A stored value that does not follow from the facts before it."""

    fact: str
    name: str  # "charge"
    stored: str
    recomputed: str


class Replay:
    """One customer's credits, lived through again."""

    def __init__(self, grants: Iterable[GrantFact]) -> None:
        """Take up the customer's grants, all still empty."""
        self._facts = {grant.state.id: grant for grant in grants}
        self._left: dict[int, Decimal] = dict.fromkeys(self._facts, _ZERO)
        self._lapsed: dict[int, Decimal] = dict.fromkeys(self._facts, _ZERO)
        self._taken: dict[int, Decimal] = dict.fromkeys(self._facts, _ZERO)
        self._endings: dict[int, EntryFact] = {}
        self._clawed: dict[int, datetime] = {}
        self._voids: dict[int, EntryFact] = {}  # By grant, those that stand.
        self._frozen: dict[int, Decimal] = dict.fromkeys(self._facts, _ZERO)
        self._frozen_at: dict[int, datetime] = {}  # By first grant, while a dispute goes on.
        self._reinstated_at: dict[int, datetime] = {}  # Late usage aside.
        self._splits: dict[int, Ending] = {}
        self._so_far: dict[tuple[int, int, int | None], RatedSoFar] = {}
        self._histories: dict[int, PeriodHistory] = defaultdict(PeriodHistory)

    def take(self, fact: RatedFact | EntryFact | ClawBackFact) -> Iterator[Difference]:
        """Live through one fact and yield what it should have said."""
        if isinstance(fact, ClawBackFact):
            return self._claw_back(fact)
        if isinstance(fact, EntryFact):
            return self._take_entry(fact)
        return self._take_rated(fact)

    def remaining(self) -> dict[int, Decimal]:
        """Return what is left of each grant."""
        return dict(self._left)

    # What people and time did.

    def _take_entry(self, entry: EntryFact) -> Iterator[Difference]:
        amount = self._amount(entry)
        yield from self._cost(entry)
        yield from _compare(entry.key, "credits", entry.credits, amount)
        yield from _compare(entry.key, "effective at", entry.effective_at, self._at(entry))
        self._left[entry.grant_id] += amount
        if entry.kind == "reinstated" and entry.credits:
            self._reinstated_at[entry.grant_id] = entry.effective_at
        if entry.reason_code in (_FROZEN, _THAWED):
            self._freeze(entry, amount)
            return
        if entry.kind == "expired" and entry.reason_code in _BY_TIME:
            self._lapsed[entry.grant_id] -= amount
        if entry.kind in _TAKEN:
            self._taken[entry.grant_id] -= amount
        if entry.kind != "granted":
            self._endings[entry.grant_id] = entry
        if entry.kind == "voided":
            self._voids[entry.grant_id] = entry
        elif entry.kind == "reinstated":
            self._voids.pop(entry.grant_id, None)

    def _at(self, entry: EntryFact) -> datetime:
        """Return when an entry took effect: when it was written, or when time ended its grant."""
        grant = self._facts[entry.grant_id].state
        at = entry.recorded_at
        if at == grant.created_at:  # By a clock behind the one that the grant was made by.
            at = min(at, entry.effective_at)
        if entry.kind == "granted":
            at = grant.effective_at
        elif entry.reason_code in _AT_END and grant.expires_at is not None:
            at = max(grant.expires_at, self._reinstated_at.get(grant.id, grant.expires_at))
        return max(at, grant.effective_at)

    def _freeze(self, entry: EntryFact, amount: Decimal) -> None:
        """Follow the start or the end of a dispute: it ends no grant and makes none void."""
        self._frozen[entry.grant_id] -= amount
        root_id = self._facts[entry.grant_id].root_id
        if entry.reason_code == _FROZEN:
            self._frozen_at[root_id] = entry.effective_at
        else:
            self._frozen_at.pop(root_id, None)

    def _claw_back(self, fact: ClawBackFact) -> Iterator[Difference]:
        """Remember that a price went back; entries of what was unused come next."""
        grants = [pk for pk, grant in self._facts.items() if grant.root_id == fact.grant_id]
        left = sum((self._left[pk] for pk in grants), _ZERO)
        self._clawed[fact.grant_id] = fact.recorded_at
        yield from _compare(fact.key, "credits", fact.credits, left)

    def _amount(self, entry: EntryFact) -> Decimal:
        """Return the credits that an entry should move."""
        grant, left = self._facts[entry.grant_id], self._left[entry.grant_id]
        if entry.kind == "granted":
            return grant.amount
        if entry.kind == "reinstated":
            kept = self._frozen if entry.reason_code == _THAWED else self._taken
            return kept[entry.grant_id]
        if entry.reason_code not in _AT_END:
            return -left
        split = self._splits.pop(entry.grant_id, None)
        if split is None:
            rollover = "none" if grant.origin_id else grant.rollover
            split = end_of(left, rollover, grant.rollover_value)
            if split.rolled and split.expired:  # Two entries; the other one comes next.
                self._splits[entry.grant_id] = split
        return -split.rolled if entry.kind == "rolled_over" else -split.expired

    # What usage did.

    def _take_rated(self, fact: RatedFact) -> Iterator[Difference]:
        so_far = self._so_far.get(fact.scope, RatedSoFar())
        charge, self._so_far[fact.scope] = advance(so_far, fact.quantity, fact.tariff)
        for entry in [e for row in (fact, *fact.covers) for e in row.entries]:
            yield from self._cost(entry)
        yield from _compare(fact.key, "charge", fact.charge, charge.total)
        yield from _compare(fact.key, "tiers", _tiers(fact.tiers), _tiers(charge.tiers))
        if fact.is_of_note:
            yield from self._forgive(fact) if fact.forgiven > 0 else self._take_again(fact)
        elif charge.total >= 0:
            yield from self._pay(fact, charge.total)
        else:
            yield from self._undo(fact, -charge.total)

    def _pay(self, fact: RatedFact, charge: Decimal) -> Iterator[Difference]:
        result = draw_down(charge, self._usable(fact.unit_id), fact.use, fact.order)
        yield from self._paid(fact, result, is_cover=False)
        for cover in fact.covers:
            yield Difference(cover.key, "row", "stored", "nothing to cover")

    def _paid(self, fact: RatedFact, result: Drawdown, *, is_cover: bool) -> Iterator[Difference]:
        overage = -result.drawn if is_cover else result.overage
        yield from _compare(fact.key, "drawn", fact.drawn, result.drawn)
        yield from _compare(fact.key, "overage", fact.overage, overage)
        yield from _compare_parts(fact, "drawn", result.parts)
        yield from _compare_parts(fact, "returned", ())
        yield from self._dates(fact)
        history = self._histories[fact.period_id]
        for part in result.parts:
            yield from self._draw(fact, part)
            history.add_draw(fact.stack, part.grant_id, -part.credits)
        history.add_overage(fact.stack, fact.window, fact.use, overage, is_cover=is_cover)

    def _undo(self, fact: RatedFact, charge: Decimal) -> Iterator[Difference]:
        history = self._histories[fact.period_id]
        given = give_back(
            charge, history.overage_at(fact.stack), history.draws_at(fact.stack),
            history.forgiven_at(fact.stack, fact.place),
            history.forgiven_elsewhere(fact.stack, fact.place),
        )  # fmt: skip
        yield from _compare(fact.key, "drawn", fact.drawn, -given.returned)
        yield from _compare(fact.key, "overage", fact.overage, -given.overage)
        yield from _compare_parts(fact, "returned", given.parts)
        yield from self._dates(fact)
        yield from _compare(fact.key, "forgiven", fact.forgiven, -given.forgiven)
        history.add_overage(fact.stack, fact.window, fact.use, -given.overage)
        history.add_forgiven(fact.stack, fact.place, -given.forgiven)
        freed = []
        for part in given.parts:
            history.add_draw(fact.stack, part.grant_id, part.credits)
            self._left[part.grant_id] += part.credits
            state, differences = self._return(fact, part)
            yield from differences
            freed += [state] if state else []
        yield from self._cover(fact, freed)

    # What credit notes did.

    def _forgive(self, fact: RatedFact) -> Iterator[Difference]:
        """Give so much back, newest draw first; it stays charged."""
        history = self._histories[fact.period_id]
        parts = newest_first(fact.forgiven, history.draws_at(fact.stack))
        yield from _compare(fact.key, "drawn", fact.drawn, -fact.forgiven)
        yield from _compare_parts(fact, "returned", parts)
        yield from self._dates(fact)
        history.add_forgiven(fact.stack, fact.place, fact.forgiven)
        for part in parts:
            history.add_draw(fact.stack, part.grant_id, part.credits)
            self._left[part.grant_id] += part.credits
            _, differences = self._return(fact, part)
            yield from differences

    def _take_again(self, fact: RatedFact) -> Iterator[Difference]:
        """Burn what was forgiven from grants that have it; which those are was decided then."""
        history = self._histories[fact.period_id]
        drawn = fact.moved("drawn")
        total = sum((amount for _, amount in drawn), _ZERO)
        yield from _compare(fact.key, "drawn", fact.drawn, total)
        yield from _compare(fact.key, "forgiven", fact.forgiven, -total)
        yield from self._dates(fact)
        history.add_forgiven(fact.stack, fact.place, -total)
        for grant_id, amount in drawn:
            yield from self._draw(fact, Part(grant_id, amount))
            history.add_draw(fact.stack, grant_id, -amount)

    def _usable(self, unit_id: int) -> Iterator[GrantState]:
        """Yield grants with what may be burned: usage from before an end burns what lapsed, too."""
        for pk, grant in self._facts.items():
            if grant.unit_id == unit_id:
                yield replace(grant.state, remaining=self._left[pk] + self._late(pk, grant))

    def _late(self, pk: int, grant: GrantFact) -> Decimal:
        """Return what time took that late usage may burn: nothing of what was taken back since."""
        lapsed = self._lapsed[pk]
        is_out = grant.root_id in self._clawed or grant.root_id in self._frozen_at
        return _ZERO if lapsed and (is_out or self._voids_of(grant)) else lapsed

    def _draw(self, fact: RatedFact, part: Part) -> Iterator[Difference]:
        """Burn credits of a grant; those that had lapsed come back first."""
        lapsed = max(part.credits - self._left[part.grant_id], _ZERO)
        self._lapsed[part.grant_id] -= lapsed
        self._left[part.grant_id] += lapsed - part.credits
        stored = sum((e.credits for e in fact.entries_of("reinstated", part.grant_id)), _ZERO)
        yield from _compare(fact.key, f"reclaimed of grant {part.grant_id}", stored, lapsed)

    def _return(self, fact: RatedFact, part: Part) -> tuple[GrantState | None, list[Difference]]:
        """Settle credits that came back; return the grant that has them and may use them."""
        state, differences = self._settle(fact, part)
        since = self._frozen_at.get(self._facts[part.grant_id].root_id)
        if state is None or since is None:
            return state, differences
        entries = fact.entries_of("voided", state.id, _FROZEN)
        name = f"frozen of grant {state.id}"
        differences += _compare(fact.key, name, _sum(entries), -part.credits)
        for entry in entries:
            at = fact.not_before(max(since, state.effective_at))
            differences += _compare(entry.key, "effective at", entry.effective_at, at)
        self._left[state.id] -= part.credits
        self._frozen[state.id] += part.credits
        return None, differences

    def _settle(self, fact: RatedFact, part: Part) -> tuple[GrantState | None, list[Difference]]:
        """Find where credits that came back belong; return that grant, with only those."""
        grant, ending = self._facts[part.grant_id], self._endings.get(part.grant_id)
        name = f"ended again of grant {part.grant_id}"
        ended = fact.entries_of("voided", part.grant_id, "returned_after_end")
        moved = fact.entries_of("rolled_over", part.grant_id)
        expires_at = grant.state.expires_at
        is_over = expires_at is not None and expires_at <= fact.rated_at
        is_ended = is_over or (ending is not None and ending.kind != "reinstated")
        void_at = self._void_at(grant, ending, is_ended=is_ended)
        if void_at is not None:
            self._left[part.grant_id] -= part.credits
            self._taken[part.grant_id] += part.credits
            at = fact.not_before(void_at)
            dates = [_compare(e.key, "effective at", e.effective_at, at) for e in ended]
            return None, [
                *_compare(fact.key, name, _sum(ended), -part.credits),
                *chain.from_iterable(dates),
            ]
        if not is_ended:
            return replace(grant.state, remaining=part.credits), [
                *_compare(fact.key, name, _sum([*ended, *moved]), _ZERO)
            ]
        self._left[part.grant_id] -= part.credits
        linked = next((g for g in self._linked(fact) if g.origin_id == part.grant_id), None)
        differences = [*_compare(fact.key, name, _sum(moved), -part.credits)]
        if linked is None:
            missing = Difference(fact.key, f"linked to grant {part.grant_id}", "none", "a grant")
            return None, [*differences, missing]
        key = f"grant:{linked.state.id}"
        differences += _compare(key, "amount", linked.amount, part.credits)
        differences += _compare(key, "cost basis", linked.basis, grant.basis)
        self._left[linked.state.id] += part.credits
        return replace(linked.state, remaining=part.credits), differences

    def _void_at(
        self, grant: GrantFact, ending: EntryFact | None, *, is_ended: bool
    ) -> datetime | None:
        """Return since when credits of a grant are void: a person, or its price went back."""
        if ending is not None and ending.kind == "voided":
            return ending.effective_at
        void_at = self._clawed.get(grant.root_id)
        if void_at is None and is_ended and (voids := self._voids_of(grant)):
            void_at = max(voids, key=attrgetter("position")).effective_at
        return max(void_at, grant.state.effective_at) if void_at else None

    def _voids_of(self, grant: GrantFact) -> list[EntryFact]:
        """Return the voids that stand of the grants that its credits are, or were, in."""
        voids = self._voids.items()
        return [void for pk, void in voids if self._facts[pk].root_id == grant.root_id]

    def _linked(self, fact: RatedFact) -> Iterator[GrantFact]:
        for entry in fact.entries:
            if entry.kind == "granted":
                yield self._facts[entry.grant_id]

    def _cover(self, fact: RatedFact, freed: list[GrantState]) -> Iterator[Difference]:
        read: list[Unpaid] = []

        def overages() -> Iterator[tuple[Decimal, Use]]:
            for unpaid in self._histories[fact.period_id].open_overage():
                read.append(unpaid)
                yield unpaid.credits, unpaid.use

        results = cover_overage(overages(), freed, fact.order) if freed else []
        wanted: dict[int, dict[int, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        for unpaid, result in zip(read, results, strict=False):
            for part in result.parts:
                wanted[unpaid.window.id][part.grant_id] += part.credits
        windows = [cover.window.id for cover in fact.covers]
        yield from _compare(fact.key, "covered windows", windows, list(wanted))
        for cover in fact.covers:
            parts = tuple(Part(*item) for item in wanted[cover.window.id].items())
            yield from self._paid(cover, Drawdown(parts, _ZERO), is_cover=True)

    def _cost(self, entry: EntryFact) -> Iterator[Difference]:
        grant = self._facts[entry.grant_id]
        cost = cost_of(entry.credits, grant.basis_amount, grant.price_minor, grant.currency)
        yield from _compare(entry.key, "cost", entry.cost, cost)

    def _dates(self, fact: RatedFact) -> Iterator[Difference]:
        """Credits move within the hour of use, but not before their grant was in force.

        What a credit note moves, it moves when it is issued. Nor are any drawn before what was
        taken was given back; draws of before that rule keep their hour.
        """
        for entry in fact.entries:
            if entry.kind in _BURNS:
                moved_at = fact.rated_at if fact.is_of_note else fact.use.period.start
                at = max(moved_at, self._facts[entry.grant_id].state.effective_at)
                if entry.kind == "drawn" and entry.effective_at != at:
                    at = max(at, self._reinstated_at.get(entry.grant_id, at))
                yield from _compare(entry.key, "effective at", entry.effective_at, at)


def _compare(fact: str, name: str, stored: object, recomputed: object) -> Iterator[Difference]:
    if stored != recomputed:
        yield Difference(fact, name, _text(stored), _text(recomputed))


def _compare_parts(fact: RatedFact, kind: str, parts: Iterable[Part]) -> Iterator[Difference]:
    yield from _compare(fact.key, kind, _told(fact.moved(kind)), _told(_parts(parts)))


def _sum(entries: Iterable[EntryFact]) -> Decimal:
    return sum((entry.credits for entry in entries), _ZERO)


def _parts(parts: Iterable[Part]) -> Told:
    return tuple((part.grant_id, part.credits) for part in parts)


def _told(moves: Told) -> str:
    return ", ".join(f"{amount.normalize():f} of grant {pk}" for pk, amount in moves) or "none"


def _tiers(tiers: Iterable[Tier]) -> str:
    return "; ".join(
        f"{tier.quantity.normalize():f} x {tier.unit_price.normalize():f}"
        f" = {tier.charge.normalize():f} {tier.name}".rstrip()
        for tier in tiers
    )


def _text(value: object) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)
