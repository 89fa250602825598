"""In which order grants are burned: named keys, the orders that other products publish, and why.

An order is data, a list of keys from the most important one on, so that a version of it can be
approved and named. The grant's id decides what the keys leave open, so every order is total.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from billing_project.kernel.quantity import how_many, plain
from credits.grant_state import GrantState

_NEVER = datetime.max.replace(tzinfo=UTC)
_ANY_METER = 10**9  # Every meter: more than any list of them.


@dataclass(frozen=True)
class BurnKey:
    """One thing to compare grants by: the smaller value burns first.

    Attributes:
        meaning: What burns first, for whoever proposes an order.
        words: How a grant's value reads in an explanation.
    """

    meaning: str
    value: Callable[[GrantState], Any]
    words: Callable[[GrantState], str]


KEYS: dict[str, BurnKey] = {
    "priority": BurnKey(
        "the smaller priority", lambda g: g.priority, lambda g: f"priority {g.priority}"
    ),
    "expiry": BurnKey(
        "what expires sooner",
        lambda g: g.expires_at or _NEVER,
        lambda g: f"expires {_moment(g.expires_at)}" if g.expires_at else "never expires",
    ),
    "promotional_first": BurnKey(
        "what was not paid for", lambda g: g.is_paid, lambda g: "paid" if g.is_paid else "not paid"
    ),
    "effective": BurnKey(
        "what was in force earlier",
        lambda g: g.effective_at,
        lambda g: f"in force from {_moment(g.effective_at)}",
    ),
    "created": BurnKey(
        "what was given earlier",
        lambda g: g.created_at,
        lambda g: f"given {_moment(g.created_at)}",
    ),
    "cheaper_first": BurnKey(
        "the lower cost basis of a credit",
        lambda g: g.unit_cost,
        lambda g: f"{plain(g.unit_cost)} a credit",
    ),
    "free_first": BurnKey(
        "what cost nothing",
        lambda g: g.unit_cost > 0,
        lambda g: "cost money" if g.unit_cost > 0 else "cost nothing",
    ),
    "larger_first": BurnKey(
        "the grant of the larger amount",
        lambda g: -g.amount,
        lambda g: f"a grant of {plain(g.amount)}",
    ),
    "rolled_over_first": BurnKey(
        "what was rolled over",
        lambda g: not g.is_rolled_over,
        lambda g: "rolled over" if g.is_rolled_over else "not rolled over",
    ),
    "fewer_meters_first": BurnKey(
        "what fewer meters may burn",
        lambda g: len(g.meter_codes) or _ANY_METER,
        lambda g: (
            f"for {how_many(len(g.meter_codes), 'meter')}" if g.meter_codes else "for every meter"
        ),
    ),
    "workspace_first": BurnKey(
        "what only one workspace may burn",
        lambda g: g.workspace_id is None,
        lambda g: "for every workspace" if g.workspace_id is None else "for one workspace",
    ),
}
BURN_KEYS = frozenset(KEYS)


@dataclass(frozen=True)
class Preset:
    """An order that another product publishes, in our keys.

    Attributes:
        note: What of the published order does not apply here, and why.
    """

    order: tuple[str, ...]
    title: str
    note: str = ""


# Source: Stripe, billing credits, order of application. Grants that were not bought on their own
# (promotional, goodwill, included) all count as "promotional" here: they burn before paid ones.
STRIPE_ORDER = ("priority", "expiry", "promotional_first", "effective", "created")
# Sources: each product's own documentation of how it applies credits.
PRESETS: dict[str, Preset] = {
    "stripe": Preset(STRIPE_ORDER, "Stripe", "The default."),
    "orb": Preset(("expiry", "cheaper_first"), "Orb"),
    "openmeter": Preset(("priority", "expiry", "created"), "OpenMeter"),
    "lago": Preset(
        ("priority", "promotional_first", "created"),
        "Lago",
        "A grant is its own wallet here, so that the order of wallets and that of their"
        " transactions are one.",
    ),
    "metronome": Preset(
        (
            "rolled_over_first",
            "priority",
            "fewer_meters_first",
            "workspace_first",
            "expiry",
            "free_first",
            "effective",
        ),
        "Metronome",
        "Every grant here is prepaid, so that prepaid before postpaid decides nothing; a customer"
        " has one contract.",
    ),
    "flexprice": Preset(("priority", "expiry", "larger_first"), "Flexprice"),
}


def in_burn_order(
    grants: Iterable[GrantState], order: Sequence[str] = STRIPE_ORDER
) -> list[GrantState]:
    """Sort grants by the named keys; the id decides the rest, so the order is total."""
    keys = [KEYS[name].value for name in order]
    return sorted(grants, key=lambda grant: (*(key(grant) for key in keys), grant.id))


def preset_of(order: Sequence[str]) -> str | None:
    """Return the name of the preset that an order is, or None if it is an own one."""
    return next((name for name, it in PRESETS.items() if it.order == tuple(order)), None)


def why(chosen: GrantState, others: Iterable[GrantState], order: Sequence[str]) -> str:
    """Say why a grant was burned and not the next one: the first key in which they differ.

    Args:
        others: Grants that could have been burned instead, any order.

    Returns:
        "priority 10 before 50; ..." in words, with what the keys before it had in common.
    """
    after = [grant for grant in in_burn_order([chosen, *others], order) if grant.id != chosen.id]
    behind = next((grant for grant in after if _rank(grant, order) > _rank(chosen, order)), None)
    if behind is None:
        return "the last grant that this usage could burn" if after else (
            "the only grant that this usage could burn"
        )  # fmt: skip
    for name in order:
        key = KEYS[name]
        if key.value(chosen) != key.value(behind):
            return f"{key.words(chosen)}, before grant {behind.id}: {key.words(behind)}"
    return f"equal in all keys, the earlier grant before grant {behind.id}"


def _rank(grant: GrantState, order: Sequence[str]) -> tuple[Any, ...]:
    return (*(KEYS[name].value(grant) for name in order), grant.id)


def _moment(at: datetime | None) -> str:
    return "never" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
