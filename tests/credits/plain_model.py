"""How credits behave, once more, in plain Python: lists, fractions and no database.

Written from the rules in words and independent of the product: nothing of it is imported here. It
is slow and small on purpose, so that it can be read against `docs/credits.md`.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from math import floor

HOUR = timedelta(hours=1)
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
EVER = datetime(1, 1, 1, tzinfo=UTC)
ZERO = Fraction(0)
# Meters that have one quantity a billing period, and how it comes of the events; others add up.
OF_PERIOD = {"peak": "max", "recent": "last"}


def twelve(value: Fraction) -> Fraction:
    """Round to 12 decimals, halves to even."""
    return Fraction(round(value * 10**12), 10**12)


def exact(value: Fraction) -> Decimal:
    """Write a fraction of at most 12 decimals as a decimal number."""
    scaled = value * 10**12
    assert scaled.denominator == 1
    return Decimal(scaled.numerator).scaleb(-12).quantize(Decimal("1e-12"), ROUND_HALF_EVEN)


@dataclass(frozen=True)
class Price:
    """What a meter costs by one version, for one model or (None) for all, and so the workspace.

    `steps` are (up to, unit price, fee): all units cost the price of the step that the last one is
    in ("volume"), or each that of its own ("graduated"). A package is (size, price).
    """

    version: int
    meter: str
    model: str | None
    kind: str
    unit_price: Fraction = ZERO
    steps: tuple[tuple[Fraction | None, Fraction, Fraction], ...] = ()
    package: tuple[Fraction, Fraction] = (ZERO, ZERO)
    fee: Fraction = ZERO
    percent: Fraction = ZERO
    included: Fraction = ZERO
    minimum: Fraction = ZERO
    maximum: Fraction | None = None
    is_pooled: bool = False  # Over all workspaces.
    is_own: bool = False  # Of the customer's override.
    workspace: str | None = None

    def fits(self, window: "Window") -> bool:
        """Tell whether it may price a window."""
        return (
            self.meter == window.meter
            and self.model in (None, window.model)
            and self.workspace in (None, window.workspace)
        )

    @property
    def wide(self) -> int:
        """Count what it leaves open: the closest price leaves least."""
        return [self.model, self.workspace].count(None)

    def of(self, quantity: Fraction) -> Fraction:
        """Return what a billing period's quantity costs."""
        if quantity <= 0:
            return ZERO
        above = max(quantity - self.included, ZERO)
        cost = max(self._of_metered(above) if above else ZERO, self.minimum)
        return twelve(cost if self.maximum is None else min(cost, self.maximum))

    def _of_metered(self, quantity: Fraction) -> Fraction:
        match self.kind:
            case "per_unit":
                return quantity * self.unit_price
            case "package":
                return -(-quantity // self.package[0]) * self.package[1]
            case "flat_fee":
                return self.fee
            case "percentage":
                return quantity * self.percent / 100
            case "volume":
                reached = (s for s in self.steps if s[0] is None or quantity <= s[0])
                _, price, fee = next(reached)
                return quantity * price + fee
            case "graduated":
                cost, below = ZERO, ZERO
                for upper, price, fee in self.steps:
                    if quantity > below:
                        cost += (min(quantity, upper or quantity) - below) * price + fee
                    below = upper or quantity
                return cost
        raise AssertionError(self.kind)


@dataclass(frozen=True)
class Version:
    """Prices that hold from an instant on, until they expire."""

    number: int
    effective_at: datetime
    prices: tuple[Price, ...]
    expires_at: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Tell whether it has begun and not expired."""
        return self.effective_at <= at < (self.expires_at or FOREVER)

    def price_of(self, window: "Window") -> Price | None:
        """Find the price of the window's own model and workspace, of one of them, or of any."""
        return min((p for p in self.prices if p.fits(window)), key=lambda p: p.wide, default=None)


@dataclass(frozen=True)
class Pin:
    """From an instant on the customer has one version; None: the one that governs again.

    Who stays where another version begins stays no longer than that version is meant to hold.
    """

    place: int  # In the order in which they were asked for.
    effective_at: datetime
    version: Version | None
    expires_at: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Tell whether it may govern at an instant."""
        return self.effective_at <= at < (self.expires_at or FOREVER)


@dataclass(frozen=True)
class Terms:
    """What was agreed on grants given under them."""

    rollover: str = "none"
    value: Fraction = ZERO
    return_days: int | None = None
    is_refundable: bool = True

    def rolls(self, left: Fraction) -> Fraction:
        """Return what of the rest goes on, in whole steps of 12 decimals."""
        match self.rollover:
            case "fraction":
                return Fraction(floor(left * self.value * 10**12), 10**12)
            case "cap":
                return min(left, self.value)
        return ZERO


@dataclass
class Recurring:
    """Credits for every stretch of time from an anchor on."""

    grant: "Grant"  # As each of them will be, but for its time.
    life: timedelta
    step: timedelta
    until: datetime | None = None
    given: set[datetime] = field(default_factory=set)

    def due(self, at: datetime) -> list[datetime]:
        """List the starts that have come and were not given."""
        starts, start = [], self.grant.effective_at
        while start <= at and start < (self.until or FOREVER):
            if start not in self.given:
                starts.append(start)
            start += self.step
        return starts


@dataclass(frozen=True)
class Order:
    """A burn order that holds from an instant on."""

    number: int
    effective_at: datetime
    keys: tuple[str, ...]


@dataclass
class Grant:
    """Credits given, and what is left of them."""

    number: int
    amount: Fraction
    is_paid: bool
    price_minor: int
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    created_at: datetime
    workspace: str | None
    meters: frozenset[str]
    origin: "Grant | None" = None  # Where its credits were before.
    basis_amount: Fraction = ZERO  # Credits that the price was paid for; its own amount if 0.
    left: Fraction = ZERO
    lapsed: Fraction = ZERO  # Taken by time; usage from before the end may still burn it.
    ended: tuple[str, datetime] | None = None  # How it ended last, and when that took effect.
    taken: Fraction = ZERO  # By voids and expiries, less what was given back.
    frozen: Fraction = ZERO  # While its payment is disputed.
    thawed_at: datetime | None = None
    terms: Terms = Terms()
    is_rolled: bool = False  # Its credits came here when their time was over.

    @property
    def root(self) -> "Grant":
        """Return the grant that its credits were in first."""
        return self.origin.root if self.origin else self

    def lives(self, start: datetime, end: datetime) -> bool:
        """Tell whether a stretch of time touches the grant's life."""
        return self.effective_at < end and start < (self.expires_at or FOREVER)

    def serves(self, window: "Window", start: datetime, end: datetime) -> bool:
        """Tell whether a stretch of use lies in its life, or in its origin's, and in its scope."""
        return (
            (self.lives(start, end) or (self.origin is not None and self.origin.lives(start, end)))
            and (self.workspace is None or self.workspace == window.workspace)
            and (not self.meters or window.meter in self.meters)
        )

    def cost(self, part: Fraction) -> Fraction:
        """Return what some of its credits cost the buyer, in whole currency."""
        return twelve(Fraction(self.price_minor, 100) * part / (self.basis_amount or self.amount))


@dataclass
class Window:
    """What one workspace used of one meter and model within an hour."""

    number: int  # In the order in which windows came to be.
    meter: str
    workspace: str | None
    model: str
    start: datetime
    events: dict[str, Fraction] = field(default_factory=dict)  # In the order of their time.
    rated: Fraction = ZERO
    price: Price | None = None  # The one that priced it first.
    is_changed: bool = False

    @property
    def quantity(self) -> Fraction:
        """Return what its events come to by its meter's rule."""
        values = list(self.events.values())
        match OF_PERIOD.get(self.meter):
            case "max":
                return max(values, default=ZERO)
            case "last":
                return values[-1] if values else ZERO
        return sum(values, ZERO)

    @property
    def group(self) -> tuple[str, str | None, str]:
        """Name what has one quantity a period."""
        return self.meter, self.workspace, self.model

    @property
    def place_in_line(self) -> tuple[object, ...]:
        """Return what decides which of several changed windows is rated first."""
        said = json.dumps({"model": self.model}, separators=(",", ":"))
        return self.start, self.meter, hashlib.sha256(said.encode()).hexdigest(), self.number


@dataclass
class Slice:
    """Credits that were used by a window and are still used: paid by a grant, or overage."""

    window: Window
    grant: Grant | None
    credits: Fraction


@dataclass
class Span:
    """A billing period: what was used in it, oldest first."""

    start: datetime
    end: datetime
    slices: list[Slice] = field(default_factory=list)
    totals: dict[tuple[Price, str | None], tuple[Fraction, Fraction]] = field(default_factory=dict)
    groups: dict[tuple[str, str | None, str], tuple[Fraction, Price]] = field(default_factory=dict)
    # By stack, then by workspace and model: what a note was about.
    forgiven: dict[tuple[object, ...], dict[tuple[object, ...], Fraction]] = field(
        default_factory=dict
    )


@dataclass(frozen=True)
class Entry:
    """One line of the ledger."""

    grant: int
    kind: str
    credits: Fraction
    cost: Fraction
    effective_at: datetime
    recorded_at: datetime
    window: int | None = None
    order: int | None = None


@dataclass(frozen=True)
class Rated:
    """One line of rated usage."""

    window: int
    price: Price
    quantity: Fraction
    drawn: Fraction
    overage: Fraction
    forgiven: Fraction = ZERO


@dataclass(frozen=True)
class Note:
    """Credits that came back for usage that stays charged, and the grants that got them.

    Nobody got them where they were void.
    """

    number: int
    window: Window
    credits: Fraction
    parts: tuple[tuple[Grant | None, Fraction], ...]


class Life:
    """One customer's credits."""

    def __init__(self) -> None:
        self.versions: list[Version] = []
        self.overrides: list[Version] = []
        self.pins: list[Pin] = []
        self.recurring: list[Recurring] = []
        self.orders: list[Order] = []
        self.spans: list[Span] = []
        self.grants: list[Grant] = []
        self.windows: list[Window] = []
        self.ledger: list[Entry] = []
        self.rated: list[Rated] = []
        self.notes: list[Note] = []
        self.clawed: dict[int, datetime] = {}  # Purchases whose price went back, and since when.
        self.frozen: dict[int, datetime] = {}  # Disputed purchases, and since when.
        self.voids: dict[int, datetime] = {}  # Grants that are void, the newest void last.
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    # What happens.

    def give(self, grant: Grant) -> None:
        """Take up a grant and fill it."""
        self.grants.append(grant)
        self._enter(grant, "granted", grant.amount, grant.effective_at)

    def end(self, grant: Grant, kind: str, at: datetime) -> bool:
        """Void or expire what is left; tell whether there was anything."""
        if not grant.left:
            return False
        effective_at = max(at, grant.effective_at)
        grant.ended = (kind, effective_at)
        if kind == "voided":
            self.voids.pop(grant.number, None)
            self.voids[grant.number] = effective_at
        self._enter(grant, kind, -grant.left, effective_at)
        return True

    def reinstate(self, grant: Grant) -> bool:
        """Give back what voids and early ends took; tell whether that could be."""
        is_over = (grant.expires_at or FOREVER) <= self.now
        is_out = grant.root.number in self.clawed or grant.root.number in self.frozen
        if is_over or is_out or not grant.taken:
            return False
        grant.ended = None
        self.voids.pop(grant.number, None)
        self._enter(grant, "reinstated", grant.taken, max(self.now, grant.effective_at))
        grant.taken = ZERO
        return True

    def claw_back(self, grant: Grant) -> bool:
        """Take back what is unused of a purchase, once; tell whether it was one."""
        if not grant.root.is_paid or not grant.root.terms.is_refundable:
            return False
        if grant.root.number in self.frozen:
            return False
        if grant.root.number not in self.clawed:
            for member in [g for g in self.grants if g.root is grant.root]:
                self.end(member, "voided", self.now)
            self.clawed[grant.root.number] = self.now
        return True

    def freeze(self, grant: Grant) -> None:
        """Take what is left of a purchase out of use for a time."""
        for member in [g for g in self.grants if g.root is grant.root and g.left]:
            self._freeze(member, member.left, max(self.now, member.effective_at))
            self.frozen[grant.root.number] = max(self.now, member.effective_at)
        if grant.root.number not in self.frozen:
            since = max(self.now, grant.root.effective_at)
            self._enter(grant.root, "voided", ZERO, since)
            self.frozen[grant.root.number] = since

    def thaw(self, grant: Grant) -> None:
        """Put back what was frozen of a purchase."""
        was_frozen = self.frozen.pop(grant.root.number, None) is not None
        members = [g for g in self.grants if g.root is grant.root and g.frozen]
        if was_frozen and not members:
            self._enter(grant.root, "reinstated", ZERO, max(self.now, grant.root.effective_at))
        for member in members:
            member.thawed_at = max(self.now, member.effective_at)
            self._enter(member, "reinstated", member.frozen, member.thawed_at)
            member.frozen = ZERO

    def expire_due(self, grace: timedelta) -> int:
        """Let every grant lapse whose time and grace are over."""
        due = [g for g in self.grants if g.left and (g.expires_at or FOREVER) <= self.now - grace]
        for grant in sorted(due, key=lambda g: (g.expires_at, g.number)):
            self.lapse(grant)
        return len(due)

    def lapse(self, grant: Grant) -> None:
        """Let time end a grant: what its terms say goes on, once.

        Usage from before its end may still come for the rest.
        """
        assert grant.expires_at is not None
        over_at = max(grant.expires_at, grant.thawed_at or grant.expires_at)
        rolled = grant.terms.rolls(grant.left) if grant.origin is None else ZERO
        if rolled:
            grant.ended = ("rolled_over", over_at)
            self._enter(grant, "rolled_over", -rolled, over_at)
            life = grant.expires_at - grant.effective_at
            self._link(grant, rolled, over_at, over_at + life, is_rolled=True)
        grant.lapsed += grant.left
        self.end(grant, "expired", over_at)

    def give_due(self) -> int:
        """Give what recurs and has begun; return how many grants that were."""
        count = 0
        for rule in self.recurring:
            for start in rule.due(self.now):
                rule.given.add(start)
                self.give(
                    replace(
                        rule.grant, number=len(self.grants), effective_at=start,
                        expires_at=start + rule.life, created_at=self.now,
                    )
                )  # fmt: skip
                count += 1
        return count

    def use(
        self,
        meter: str,
        workspace: str | None,
        model: str,
        start: datetime,
    ) -> Window:
        """Return the window of a use, to be changed."""
        for window in self.windows:
            key = (window.meter, window.workspace, window.model, window.start)
            if key == (meter, workspace, model, start):
                break
        else:
            window = Window(len(self.windows), meter, workspace, model, start)
            self.windows.append(window)
        window.is_changed = True
        return window

    def rate(self) -> None:
        """Rate what changed, as far as there is a period, a price and a burn order for it."""
        waiting = [window for window in self.windows if window.is_changed]
        for window in sorted(waiting, key=lambda w: w.place_in_line):
            span = self._span(window)
            order = self._order(window)
            if span is None or order is None:
                continue
            quantity, rated, price = self._measured(window, span)
            price = price or self._price(window)
            if price is not None:
                window.price, window.is_changed = price, False
                window.rated, span.groups[window.group] = quantity, (quantity, price)
                self._rate(window, span, order, price, quantity - rated)

    def forgivable(self, window: Window) -> Fraction:
        """Return what grants still pay of a window, as far as its place has draws."""
        span = self._span(window)
        assert span is not None
        drawn = sum((row.drawn for row in self.rated if row.window == window.number), ZERO)
        open_ = sum((piece.credits for piece in _draws(span, window)), ZERO)
        return max(min(drawn, open_), ZERO)

    def forgive(self, number: int, window: Window, credits_: Fraction) -> None:
        """Give credits back, newest draw first; the usage stays charged and nothing is covered."""
        span, order = self._span(window), self._order(window)
        assert span is not None
        assert order is not None
        assert window.price is not None
        back: dict[int, Fraction] = {}
        left = credits_
        for piece in _draws(span, window):
            part = min(left, piece.credits)
            if part:
                piece.credits -= part
                left -= part
                assert piece.grant is not None
                back[piece.grant.number] = back.get(piece.grant.number, ZERO) + part
        assert not left
        self._note(window, window.price, ZERO, -credits_, ZERO, credits_)
        places = span.forgiven.setdefault(_stack(window), {})
        places[_place(window)] = places.get(_place(window), ZERO) + credits_
        parts = []
        for grant, part in back.items():
            holder = self._return(window, span, order, self.grants[grant], part, self.now)
            if holder is not None and (since := self.frozen.get(holder.root.number)):
                self._freeze(holder, part, max(since, holder.effective_at, self.now))
            parts.append((holder, part))
        self.notes.append(Note(number, window, credits_, tuple(parts)))

    def unforgive(self, note: Note) -> bool:
        """Burn again what a note gave back, if all of it is still there; tell whether it was."""
        window = note.window
        span, order = self._span(window), self._order(window)
        assert span is not None
        assert order is not None
        assert window.price is not None
        wanted: dict[int, Fraction] = {}
        for holder, part in note.parts:
            if holder is None or (holder.expires_at or FOREVER) <= self.now:
                return False
            wanted[holder.number] = wanted.get(holder.number, ZERO) + part
        is_there = all(self.grants[number].left >= part for number, part in wanted.items())
        places = span.forgiven[_stack(window)]
        if not is_there or places[_place(window)] < note.credits:
            return False
        self.notes.remove(note)
        self._note(window, window.price, ZERO, note.credits, ZERO, -note.credits)
        places[_place(window)] -= note.credits
        for holder, part in note.parts:
            assert holder is not None
            at = max(self.now, holder.effective_at)
            self._enter(holder, "drawn", -part, at, window, order)
            span.slices.append(Slice(window, holder, part))
        return True

    # What it comes to.

    def balance(self, at: datetime) -> Fraction:
        """Return the credits at an instant, as they were known then."""
        known = (e for e in self.ledger if e.effective_at <= at and e.recorded_at <= at)
        return sum((entry.credits for entry in known), ZERO)

    def is_taken_back(self, grant: Grant) -> bool:
        """Tell whether nothing is left of a purchase or gift because somebody took it back."""
        is_left = any(g.left for g in self.grants if g.root is grant)
        is_out = grant.number in self.clawed or grant.number in self.frozen
        return not is_left and (is_out or bool(self._voids_of(grant)))

    def chosen(self, at: datetime) -> Version | None:
        """Return the version of the rate card that the customer has at an instant."""
        known = [pin for pin in self.pins if pin.holds(at)]
        pin = max(known, key=lambda p: (p.effective_at, p.place), default=None)
        return (pin and pin.version) or _governing(self.versions, at)

    # How it goes.

    def _measured(self, window: Window, span: Span) -> tuple[Fraction, Fraction, Price | None]:
        """Return the quantity now, what was rated of it, and by which price."""
        if window.meter not in OF_PERIOD:
            return window.quantity, window.rated, window.price
        heard = [
            w
            for w in self.windows
            if w.group == window.group and self._span(w) is span and w.events
        ]
        heard.sort(key=lambda w: w.start)
        quantity = ZERO
        if heard and OF_PERIOD[window.meter] == "max":
            quantity = max(w.quantity for w in heard)
        elif heard:
            quantity = heard[-1].quantity
        return quantity, *span.groups.get(window.group, (ZERO, None))

    def _rate(
        self, window: Window, span: Span, order: Order, price: Price, change: Fraction
    ) -> None:
        scope = (price, None if price.is_pooled else window.workspace)
        quantity, charged = span.totals.get(scope, (ZERO, ZERO))
        quantity += change
        total = price.of(quantity)
        span.totals[scope] = (quantity, total)
        charge = total - charged
        if charge >= 0:
            self._pay(window, span, order, price, change, charge)
        else:
            self._undo(window, span, order, price, change, -charge)

    def _pay(
        self,
        window: Window,
        span: Span,
        order: Order,
        price: Price,
        change: Fraction,
        charge: Fraction,
    ) -> None:
        left, entries = charge, []
        for grant in self._in_order(window, span, order):
            part = min(left, grant.left + self._lapsed(grant))
            if part:
                entries.append((grant, part))
                left -= part
        self._note(window, price, change, charge - left, left)
        for grant, part in entries:
            self._draw(window, span, order, grant, part)
        if left:
            span.slices.append(Slice(window, None, left))

    def _undo(
        self,
        window: Window,
        span: Span,
        order: Order,
        price: Price,
        change: Fraction,
        charge: Fraction,
    ) -> None:
        """Take back the newest use of the same place: overage before what grants paid."""
        own = [s for s in span.slices if _stack(s.window) == _stack(window)]
        overage, left = ZERO, charge
        for piece in [s for s in reversed(own) if s.grant is None]:
            part = min(left, piece.credits)
            piece.credits -= part
            overage, left = overage + part, left - part
        places = span.forgiven.setdefault(_stack(window), {})
        unforgiven = min(left, places.get(_place(window), ZERO))
        if unforgiven:  # Somebody had these back before.
            places[_place(window)] -= unforgiven
            left -= unforgiven
        back: dict[int, Fraction] = {}
        for piece in [s for s in reversed(own) if s.grant is not None]:
            part = min(left, piece.credits)
            if part:
                assert piece.grant is not None
                piece.credits -= part
                back[piece.grant.number] = back.get(piece.grant.number, ZERO) + part
                left -= part
        for place in [p for p in places if p != _place(window)]:
            part = min(left, places[place])  # Of other use, where nothing else is left.
            places[place] -= part
            unforgiven, left = unforgiven + part, left - part
        assert not left
        self._note(window, price, change, -sum(back.values(), ZERO), -overage, -unforgiven)
        freed = {}
        for number, part in back.items():
            holder = self._return(window, span, order, self.grants[number], part)
            if holder is not None and (since := self.frozen.get(holder.root.number)):
                self._freeze(holder, part, max(since, holder.effective_at))
            elif holder is not None:
                freed[holder.number] = part
        self._cover(span, order, freed)

    def _return(
        self,
        window: Window,
        span: Span,
        order: Order,
        grant: Grant,
        part: Fraction,
        at: datetime | None = None,
    ) -> Grant | None:
        """Give credits back; return the grant that has them now, if they are not void."""
        soon = at or EVER  # What a note gives back is void no earlier than it came.
        at = at or max(window.start, span.start)
        self._enter(grant, "returned", part, max(at, grant.effective_at), window, order)
        if grant.ended is not None and grant.ended[0] == "voided":
            self._enter(grant, "voided", -part, max(grant.ended[1], soon))
            return None
        if grant.root.number in self.clawed:
            void_at = max(self.clawed[grant.root.number], grant.effective_at, soon)
            self._enter(grant, "voided", -part, void_at)
            return None
        if grant.ended is None and self.now < (grant.expires_at or FOREVER):
            return grant
        if voids := self._voids_of(grant):
            self._enter(grant, "voided", -part, max(voids[-1], grant.effective_at, soon))
            return None
        grant.ended = ("rolled_over", max(self.now, grant.effective_at))
        self._enter(grant, "rolled_over", -part, grant.ended[1])
        start = max(self.now, grant.created_at)
        end = grant.expires_at and start + (grant.expires_at - grant.effective_at)
        if grant.terms.return_days:
            end = start + timedelta(days=grant.terms.return_days)
        return self._link(grant, part, start, end)

    def _link(
        self,
        grant: Grant,
        part: Fraction,
        start: datetime,
        end: datetime | None,
        *,
        is_rolled: bool = False,
    ) -> Grant:
        """Fill a grant with credits of another one."""
        linked = replace(
            grant, number=len(self.grants), amount=part, left=ZERO, lapsed=ZERO, ended=None,
            taken=ZERO, frozen=ZERO, thawed_at=None, origin=grant,
            basis_amount=grant.basis_amount or grant.amount,
            effective_at=start, expires_at=end, created_at=max(self.now, grant.created_at),
            is_rolled=is_rolled,
        )  # fmt: skip
        self.give(linked)
        return linked

    def _freeze(self, grant: Grant, part: Fraction, at: datetime) -> None:
        self._enter(grant, "voided", -part, at)
        grant.taken -= part
        grant.frozen += part

    def _voids_of(self, grant: Grant) -> list[datetime]:
        """List since when grants of the same purchase or gift are void, the newest last."""
        return [at for number, at in self.voids.items() if self.grants[number].root is grant.root]

    def _lapsed(self, grant: Grant) -> Fraction:
        """Return what time took that usage may still burn: nothing of what was taken back."""
        is_out = grant.root.number in self.clawed or grant.root.number in self.frozen
        return ZERO if is_out or self._voids_of(grant) else grant.lapsed

    def _cover(self, span: Span, order: Order, freed: dict[int, Fraction]) -> None:
        """Let freed credits pay for the newest overage that their grant serves."""
        paid: dict[int, dict[int, Fraction]] = {}
        for piece in [s for s in reversed(span.slices) if s.grant is None and s.credits]:
            for grant in self._in_order(piece.window, span, order):
                part = min(piece.credits, freed.get(grant.number, ZERO))
                if part:
                    piece.credits -= part
                    freed[grant.number] -= part
                    by_grant = paid.setdefault(piece.window.number, {})
                    by_grant[grant.number] = by_grant.get(grant.number, ZERO) + part
        for number, by_grant in paid.items():
            window = self.windows[number]
            drawn = sum(by_grant.values(), ZERO)
            assert window.price is not None
            self._note(window, window.price, ZERO, drawn, -drawn)
            for grant_number, part in by_grant.items():
                self._draw(window, span, order, self.grants[grant_number], part)

    def _draw(self, window: Window, span: Span, order: Order, grant: Grant, part: Fraction) -> None:
        at = max(window.start, span.start, grant.effective_at)
        if part > grant.left:
            late = part - grant.left
            grant.lapsed -= late
            self._enter(grant, "reinstated", late, max(_end(grant), grant.effective_at))
        self._enter(grant, "drawn", -part, at, window, order)
        span.slices.append(Slice(window, grant, part))

    def _enter(
        self,
        grant: Grant,
        kind: str,
        part: Fraction,
        effective_at: datetime,
        window: Window | None = None,
        order: Order | None = None,
    ) -> None:
        grant.left += part
        if kind in ("voided", "expired"):
            grant.taken -= part  # A freeze is no end: it takes that back.
        assert 0 <= grant.left <= grant.amount
        self.ledger.append(
            Entry(
                grant.number, kind, part, grant.cost(part), effective_at,
                max(self.now, grant.created_at),
                window.number if window else None, order.number if order else None,
            )
        )  # fmt: skip

    def _note(
        self,
        window: Window,
        price: Price,
        quantity: Fraction,
        drawn: Fraction,
        overage: Fraction,
        forgiven: Fraction = ZERO,
    ) -> None:
        if quantity or drawn or overage or forgiven:
            self.rated.append(Rated(window.number, price, quantity, drawn, overage, forgiven))

    def _in_order(self, window: Window, span: Span, order: Order) -> list[Grant]:
        start, end = max(window.start, span.start), min(window.start + HOUR, span.end)
        serving = [g for g in self.grants if g.serves(window, start, end)]
        return sorted(serving, key=lambda g: [*(_key(g, k) for k in order.keys), g.number])

    def _span(self, window: Window) -> Span | None:
        return next((s for s in self.spans if s.start <= window.start < s.end), None)

    def _order(self, window: Window) -> Order | None:
        known = [o for o in self.orders if o.effective_at <= window.start]
        return max(known, key=lambda o: (o.effective_at, o.number), default=None)

    def _price(self, window: Window) -> Price | None:
        """Find the first price: the customer's own, or else of the version that they have."""
        for version in (_governing(self.overrides, window.start), self.chosen(window.start)):
            if version is not None and (price := version.price_of(window)):
                return price
        return None


def is_ambiguous(places: Iterable[tuple[str, str | None, str | None]]) -> bool:
    """Tell whether a meter has a price of some model, and one of some workspace: which is closer?

    Both fit what that workspace uses of that model.
    """
    of_models = {meter for meter, model, workspace in places if model and not workspace}
    of_workspaces = {meter for meter, model, workspace in places if workspace and not model}
    return bool(of_models & of_workspaces)


def _governing(versions: list[Version], at: datetime) -> Version | None:
    known = [version for version in versions if version.holds(at)]
    return max(known, key=lambda v: (v.effective_at, v.number), default=None)


def _stack(window: Window) -> tuple[object, ...]:
    """Name the uses of which one may undo the other."""
    if window.price is not None and window.price.is_pooled:
        return (window.price,)
    return window.workspace, window.meter


def _place(window: Window) -> tuple[object, ...]:
    """Name what a line of an invoice would be about."""
    return window.workspace, window.model


def _draws(span: Span, window: Window) -> list[Slice]:
    """List what grants pay in the place of a window, the newest first."""
    place = _stack(window)
    return [s for s in reversed(span.slices) if s.grant and _stack(s.window) == place]


def _end(grant: Grant) -> datetime:
    assert grant.expires_at is not None, "time took its credits"
    return grant.expires_at


def _key(grant: Grant, name: str) -> object:
    by_name: dict[str, object] = {
        "priority": grant.priority,
        "expiry": grant.expires_at or FOREVER,
        "promotional_first": grant.is_paid,
        "effective": grant.effective_at,
        "created": grant.created_at,
        "cheaper_first": grant.cost(Fraction(1)),
        "free_first": grant.cost(Fraction(1)) > 0,
        "larger_first": -grant.amount,
        "rolled_over_first": not grant.is_rolled,
        "fewer_meters_first": len(grant.meters) or 10**9,
        "workspace_first": grant.workspace is None,
    }
    return by_name[name]
