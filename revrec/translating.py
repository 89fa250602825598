"""What an entry in a foreign currency is worth in the currency of its entity's own books.

Lines of one customer in one currency enter, with what accounts carry so far and the day's rate; an
amount for each line leaves, and what is left over: the difference of exchange. A contract liability
keeps the rate at which it came to be, and revenue follows it; money that comes or goes is taken at
the day's rate, and what it settles leaves at what it stood at. Source: IAS 21.21-28, IFRIC 22.8-9
(830-10-45-18); accounting.md 1.8, rules 16, 22, 28.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from billing_project.kernel.money import prorate
from revrec.fx import Carried, Rate
from revrec.posting import Account, PostingLine

LIABILITIES = frozenset({Account.CREDITS_LIABILITY, Account.FEES_LIABILITY})
# Money, and what will be money: valued anew at each close.
MONETARY = frozenset(
    {
        Account.CASH, Account.RECEIVABLE, Account.LOSS_ALLOWANCE, Account.UNBILLED,
        Account.CONTRACT_ASSET, Account.DISPUTED, Account.FX_CLEARING, Account.CUSTOMER_BALANCE,
        Account.REFUND_LIABILITY, Account.TAX_PAYABLE, Account.UNCLAIMED_PROPERTY,
    }
)  # fmt: skip
_EARNED = "earned"  # All revenue of a promise, and what was taken off it, is carried as one.

Key = tuple[str, int | None]  # An account, and the promise that it carries an amount for.
_NOTHING = Carried(0, 0)


@dataclass
class Holdings:
    """What accounts carry of one customer in one currency, in both currencies; debit positive.

    Attributes:
        carried: By account; contract liabilities and revenue promise by promise.
        first: What each promise's liability came to be at: its rate, for good.
    """

    carried: dict[Key, Carried] = field(default_factory=dict)
    first: dict[int, Carried] = field(default_factory=dict)

    def move(self, key: Key, amount_minor: int, book_minor: int) -> None:
        """Add to what is carried."""
        before = self.carried.get(key, _NOTHING)
        self.carried[key] = Carried(
            before.amount_minor + amount_minor, before.book_minor + book_minor
        )


def key_of(account: str, obligation_id: int | None) -> Key | None:
    """Return under which name an account carries an amount; None: it carries none."""
    if account in LIABILITIES:
        return account, obligation_id
    if account.startswith("4"):
        return None if obligation_id is None else (_EARNED, obligation_id)
    return (account, None) if account in MONETARY else None


@dataclass(frozen=True)
class Translated:
    """Amounts in the books' own currency, a line each; with the difference they sum to zero."""

    book_minor: tuple[int, ...]
    difference_minor: int  # Debit positive: a loss.


def translate(lines: Sequence[PostingLine], holdings: Holdings, rate: Rate) -> Translated:
    """Translate the lines of an entry; what accounts carry moves along.

    Args:
        lines: In one currency; they sum to zero. One that says what it is worth stays so.
    """
    spot = _Spot(rate)
    if lines and all(_is_promised(line) for line in lines):
        return Translated(_handed_on(lines, holdings, spot), 0)
    amounts = [0] * len(lines)
    later = []
    for place, line in enumerate(lines):
        if line.functional_minor is not None:
            amounts[place] = line.functional_minor
        elif _follows(line):
            later.append(place)
        else:
            amounts[place] = _worth(line, holdings, spot)
        if place not in later:
            _move(line, amounts[place], holdings)
    mirrored = _mirrored([lines[place] for place in later], lines, amounts)
    for place in later:
        line = lines[place]
        told = mirrored.get(line.about.obligation_id)
        amounts[place] = told.of(line.amount_minor) if told else _earned(line, holdings, spot)
        _move(line, amounts[place], holdings)
    return Translated(tuple(amounts), -sum(amounts))


class _Mirror:
    """What revenue is worth that a liability of so much became; rounded cumulatively."""

    def __init__(self, whole: Carried) -> None:
        self._whole, self._amount, self._book = whole, 0, 0

    def of(self, amount_minor: int) -> int:
        self._amount += amount_minor
        before, self._book = self._book, self._whole.part(self._amount)
        return self._book - before


class _Spot:
    """Amounts at the day's rate, rounded cumulatively: an entry all at it sums to zero."""

    def __init__(self, rate: Rate) -> None:
        self._rate, self._amount, self._book = rate, 0, 0

    def of(self, amount_minor: int) -> int:
        self._amount += amount_minor
        before, self._book = self._book, self._rate.of(self._amount)
        return self._book - before


def _follows(line: PostingLine) -> bool:
    """Tell whether a line is revenue of a promise: it follows what the promise's liability does."""
    return line.account.startswith("4") and line.about.obligation_id is not None


def _is_promised(line: PostingLine) -> bool:
    return line.account in LIABILITIES and line.functional_minor is None


def _handed_on(lines: Sequence[PostingLine], holdings: Holdings, spot: _Spot) -> tuple[int, ...]:
    """Move liabilities from promise to promise as they stand: no money moves, so nothing differs.

    Those that take share what the others stood at, by what each takes.
    """
    amounts = {
        place: _given(line, holdings, spot)
        for place, line in enumerate(lines)
        if line.amount_minor > 0
    }
    given = Carried(
        sum(line.amount_minor for line in lines if line.amount_minor > 0), sum(amounts.values())
    )
    taken = _Mirror(Carried(-given.amount_minor, -given.book_minor))
    for place, line in enumerate(lines):
        if place not in amounts:
            amounts[place] = taken.of(line.amount_minor)
            promise = line.about.obligation_id
            if promise is not None:
                first = Carried(line.amount_minor, amounts[place])
                holdings.first.setdefault(promise, first)
        _move(line, amounts[place], holdings)
    return tuple(amounts[place] for place in range(len(lines)))


def _given(line: PostingLine, holdings: Holdings, spot: _Spot) -> int:
    """Value what a promise gives; beyond what it still carries, at the rate at which it began."""
    first = holdings.first.get(line.about.obligation_id or 0)
    carried = holdings.carried.get((line.account, line.about.obligation_id), _NOTHING)
    part = min(line.amount_minor, max(0, -carried.amount_minor))
    rest = line.amount_minor - part
    if first is None or not rest:
        return _worth(line, holdings, spot)
    return (-carried.part(-part) if part else 0) + _at_rate_of(first, rest)


def _worth(line: PostingLine, holdings: Holdings, spot: _Spot) -> int:
    key = key_of(line.account, line.about.obligation_id)
    if key is None or line.account == Account.CASH:
        return spot.of(line.amount_minor)
    first = holdings.first.get(line.about.obligation_id or 0)
    if line.account in LIABILITIES and first is not None and line.amount_minor < 0:
        return _at_rate_of(first, line.amount_minor)
    worth = _out_of(key, line.amount_minor, holdings, spot)
    if line.account in LIABILITIES and first is None and line.about.obligation_id is not None:
        holdings.first[line.about.obligation_id] = Carried(line.amount_minor, worth)
    return worth


def _out_of(key: Key, amount_minor: int, holdings: Holdings, spot: _Spot) -> int:
    """Take what lowers a carried amount out of it at what it stands at; the rest is at spot."""
    carried = holdings.carried.get(key, _NOTHING)
    if not carried.amount_minor or (carried.amount_minor > 0) == (amount_minor > 0):
        return spot.of(amount_minor)
    part = max(-abs(carried.amount_minor), min(abs(carried.amount_minor), amount_minor))
    rest = amount_minor - part
    return -carried.part(-part) + (spot.of(rest) if rest else 0)


def _at_rate_of(first: Carried, amount_minor: int) -> int:
    """Return an amount at the rate at which a liability came to be."""
    worth = prorate(
        abs(first.book_minor), Decimal(abs(amount_minor)), Decimal(abs(first.amount_minor))
    )
    return worth if amount_minor > 0 else -worth


def _mirrored(
    later: Iterable[PostingLine], lines: Sequence[PostingLine], amounts: Sequence[int]
) -> Mapping[int | None, _Mirror]:
    """Find promises whose liability moves by just what is earned: revenue is worth the same."""
    released: dict[int | None, Carried] = defaultdict(lambda: _NOTHING)
    for line, worth in zip(lines, amounts, strict=True):
        if line.account in LIABILITIES:
            before = released[line.about.obligation_id]
            released[line.about.obligation_id] = Carried(
                before.amount_minor + line.amount_minor, before.book_minor + worth
            )
    earned: dict[int | None, int] = defaultdict(int)
    for line in later:
        earned[line.about.obligation_id] += line.amount_minor
    return {
        promise: _Mirror(Carried(-released[promise].amount_minor, -released[promise].book_minor))
        for promise, amount in earned.items()
        if amount and promise in released and released[promise].amount_minor == -amount
    }


def _earned(line: PostingLine, holdings: Holdings, spot: _Spot) -> int:
    """Value revenue, or what is taken off it, at the rate of its promise."""
    obligation_id = line.about.obligation_id
    assert obligation_id is not None
    first = holdings.first.get(obligation_id)
    if first is not None and first.amount_minor:
        return _at_rate_of(first, line.amount_minor)
    return _out_of((_EARNED, obligation_id), line.amount_minor, holdings, spot)


def _move(line: PostingLine, book_minor: int, holdings: Holdings) -> None:
    key = key_of(line.account, line.about.obligation_id)
    if key is not None:
        holdings.move(key, line.amount_minor, book_minor)
