"""What a proposed version of a rule would have changed on the last period, customer by customer.

Each app says with `effect_of` how the effect of one kind is computed; the ground knows no kind. It
is computed when a change is submitted, stored with it, and may be computed again at any time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing_project.kernel.models import PolicyChange
from billing_project.kernel.quantity import plain


@dataclass(frozen=True)
class EffectRow:
    """One figure of one customer, under the rule in force and under the proposed one.

    Attributes:
        subject: What the figure is ("Overage of cust-07", "Fee of the plan").
        customer_id: Whose figure it is; None for one of all customers.
        before: Under the version in force, in `unit`, exact.
        after: Under the proposed version.
        unit: What is counted ("credit", "USD", "grant").
        part_of: The subject of the figure that this one is a part of; sums leave it out.
    """

    subject: str
    customer_id: int | None
    before: Decimal
    after: Decimal
    unit: str
    part_of: str = ""

    @property
    def difference(self) -> Decimal:
        """How much more the proposed version makes of it."""
        return self.after - self.before


@dataclass(frozen=True)
class Effect:
    """The simulated effect of a change.

    Attributes:
        basis: What it was computed on, as a sentence ("Each customer's last billing period").
        rows: Largest difference first where there are many.
        customers: How many customers the change touches, those without a difference included.
        grants: How many grants it touches.
    """

    basis: str
    rows: tuple[EffectRow, ...]
    customers: int
    grants: int

    @property
    def figures(self) -> tuple[EffectRow, ...]:
        """The rows that are no part of another."""
        return tuple(row for row in self.rows if not row.part_of)


EffectOf = Callable[[PolicyChange], Effect | None]
_effects: dict[str, EffectOf] = {}


def effect_of(kind: str) -> Callable[[EffectOf], EffectOf]:
    """Register how the effect of one kind of change is computed.

    The function gets the change with its `content`, `effective_at` and `expires_at`; its version's
    rows may not exist yet, so read the content and not the rows. It returns None where the stored
    effect is the only one that counts.
    """

    def register(function: EffectOf) -> EffectOf:
        _effects[kind] = function
        return function

    return register


def simulate(change: PolicyChange) -> Effect | None:
    """Compute the effect of a change on the facts as they are now, or None if no app can."""
    function = _effects.get(change.kind)
    return function(change) if function else None


def document_of(effect: Effect, at: datetime) -> dict[str, Any]:
    """Write an effect as JSON, with when it was computed; numbers as plain text."""
    return {
        "computed_at": at.astimezone(UTC).isoformat(),
        "basis": effect.basis,
        "customers": effect.customers,
        "grants": effect.grants,
        "rows": [
            {
                "subject": row.subject,
                "customer": row.customer_id,
                "before": plain(row.before),
                "after": plain(row.after),
                "unit": row.unit,
                **({"part_of": row.part_of} if row.part_of else {}),
            }
            for row in effect.rows
        ],
    }


def effect_in(document: dict[str, Any]) -> tuple[Effect, datetime]:
    """Read an effect back from its JSON, with when it was computed."""
    rows = tuple(
        EffectRow(
            row["subject"],
            row["customer"],
            Decimal(row["before"]),
            Decimal(row["after"]),
            row["unit"],
            row.get("part_of", ""),
        )
        for row in document["rows"]
    )
    effect = Effect(document["basis"], rows, document["customers"], document["grants"])
    return effect, datetime.fromisoformat(document["computed_at"])
