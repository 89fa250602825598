"""What a plan version sells beside its base fee: items as plain values, and what makes them sound.

A commit counts what lines of its `kinds` claim before discounts; a discount takes off lines of its
`kinds`. Overage follows its own price and is never discounted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.quantity import plain, round_unrounded
from invoicing.lines import LARGEST_UNIT_PRICE

COUNTED = ("overage", "outcome", "seat", "recurring", "one_off")  # What a commit may count.
DISCOUNTED = ("recurring", "seat", "one_off")  # What a discount may take off.
_LARGEST, _MOST_PERIODS, _MOST_ITEMS = 10**15, 120, 50
_CODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class BadItem(ValueError):
    """An item says what its kind cannot mean."""


@dataclass(frozen=True)
class Item:
    """One thing that is sold.

    Attributes:
        kind: One of `KINDS`.
        code: Names it within its plan version.
        amount_minor: Fee, price of one seat for a period, price of one outcome, commit of the whole
            term, price of a pack, of a commitment for its term, or what a discount takes off a
            period.
        percent: What a discount takes off instead of an amount.
        credits: What a pack holds, or a commitment for its term.
        timing: When a recurring fee is claimed: at the period's start or its end.
        periods: Of a commit and of a commitment, the term; of a one-off fee, how long it serves;
            of a discount, how long it lasts, 0 for good.
        kinds: Kinds of lines that a commit counts, or that a discount takes off.
    """

    kind: str
    code: str
    name: str
    amount_minor: int = 0
    percent: Decimal | None = None
    credits: Decimal | None = None
    timing: str = "advance"
    periods: int = 1
    kinds: tuple[str, ...] = ()


def refuse_unsound(items: Sequence[Item]) -> None:
    """Check what a plan version sells.

    Raises:
        BadItem: with the item's code and what is wrong with it.
    """
    if len(items) > _MOST_ITEMS:
        raise BadItem(f"a plan has at most {_MOST_ITEMS} items")
    for item in items:
        if wrong := _wrong_with(item):
            raise BadItem(f"item {item.code or '?'}: {wrong}")
    codes = [item.code for item in items]
    if twice := sorted({code for code in codes if codes.count(code) > 1}):
        raise BadItem(f"two items are called {', '.join(twice)}")
    for kind in ("seat", "commit"):
        if sum(item.kind == kind for item in items) > 1:
            raise BadItem(f"a plan has one {kind} item at most")


def content_of_item(item: Item) -> dict[str, object]:
    """Write an item as plain values, with what its kind uses: what approvers sign."""
    content: dict[str, object] = {"kind": item.kind, "code": item.code, "name": item.name}
    if item.percent is None:
        content["amount_minor"] = item.amount_minor
    else:
        content["percent"] = plain(item.percent)
    if item.credits is not None:
        content["credits"] = plain(item.credits)
    if item.kind == "recurring":
        content["timing"] = item.timing
    if item.kind in {"commit", "commitment", "one_off", "discount"}:
        content["periods"] = item.periods
    if item.kinds:
        content["kinds"] = list(item.kinds)
    return content


def _wrong_with(item: Item) -> str:
    """Say what is wrong with one item, or nothing."""
    if not _CODE.fullmatch(item.code):
        return "a code has 1 to 40 small letters, digits, - and _"
    if not 0 < len(item.name.strip()) <= 100:
        return "a name has 1 to 100 characters"
    check = KINDS.get(item.kind)
    if check is None:
        return f"its kind is one of {', '.join(KINDS)}"
    if not 0 <= item.amount_minor < _LARGEST:
        return "its amount is at least 0 and less than 10^15 minor units"
    if item.percent is not None and item.kind != "discount":
        return "only a discount has a percent"
    if item.credits is not None and item.kind not in {"credit_pack", "commitment"}:
        return "only a credit pack and a commitment hold credits"
    if item.timing not in {"advance", "arrears"}:
        return "its timing is advance or arrears"
    if item.timing == "arrears" and item.kind != "recurring":
        return "only a recurring fee has its timing"
    if not 0 <= item.periods <= _MOST_PERIODS:
        return f"it lasts at most {_MOST_PERIODS} periods"
    return check(item)


def _priced(item: Item) -> str:
    return "" if item.amount_minor else "it has a price"


def _commit(item: Item) -> str:
    if not item.amount_minor:
        return "a commit is more than nothing"
    if not item.periods:
        return "a commit's term is at least one period"
    return _kinds(item, COUNTED, "counts")


def _one_off(item: Item) -> str:
    return _priced(item) or ("" if item.periods else "it serves for at least one period")


def _pack(item: Item) -> str:
    held = item.credits
    if held is None or not held.is_finite() or not 0 < held < Decimal(10) ** 24:
        return "it holds more than 0 and less than 10^24 credits"
    if round_unrounded(held) != held:
        return "its credits have at most 12 decimals"
    return _priced(item)


def _commitment(item: Item) -> str:
    if wrong := _pack(item):
        return wrong
    assert item.credits is not None
    if item.amount_minor >= LARGEST_UNIT_PRICE * item.credits:
        return "its price of one credit is more than a line can show"
    return "" if item.periods else "a commitment's term is at least one period"


def _discount(item: Item) -> str:
    percent = item.percent
    if percent is None:
        return _priced(item) or _kinds(item, DISCOUNTED, "takes off")
    if item.amount_minor:
        return "a discount is a percent or an amount, not both"
    if not percent.is_finite() or not 0 < percent <= 100:
        return "a discount is more than 0 and at most 100 percent"
    if percent != percent.quantize(Decimal("0.001")):
        return "a percent has at most 3 decimals"
    return _kinds(item, DISCOUNTED, "takes off")


def _kinds(item: Item, known: Sequence[str], verb: str) -> str:
    if not item.kinds or set(item.kinds) - set(known) or len(set(item.kinds)) < len(item.kinds):
        return f"it {verb} lines of these kinds, each once: {', '.join(known)}"
    return ""


KINDS = {
    "recurring": _priced,
    "seat": _priced,
    "outcome": _priced,
    "one_off": _one_off,
    "credit_pack": _pack,
    "commitment": _commitment,
    "discount": _discount,
    "commit": _commit,
}
