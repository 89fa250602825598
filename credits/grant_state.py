"""A grant and a use of credits as the rules see them. Knows no tables."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.period import Period

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Use:
    """When and where credits are used: what a grant has to admit."""

    period: Period
    workspace_id: int | None
    meter_code: str


@dataclass(frozen=True)
class Life:
    """From when until when a grant may be burned; half-open, without an end if `end` is None."""

    start: datetime
    end: datetime | None

    def touches(self, period: Period) -> bool:
        """Tell whether a part of the period lies in the life."""
        return self.start < period.end and (self.end is None or period.start < self.end)


@dataclass(frozen=True)
class GrantState:
    """A grant as the burn order sees it. An empty `meter_codes` admits every meter.

    Attributes:
        remaining: Credits that may be burned; those that expired while usage from before the end
            was still on its way are among them.
        origin_life: Of the grant that these credits left; usage in it may burn them, too.
        amount: Credits in the grant when it was made.
        unit_cost: What one credit cost its buyer, in the grant's currency.
    """

    id: int
    remaining: Decimal
    priority: int
    is_paid: bool
    effective_at: datetime
    expires_at: datetime | None
    created_at: datetime
    workspace_id: int | None = None
    meter_codes: frozenset[str] = frozenset()
    origin_life: Life | None = None
    amount: Decimal = _ZERO
    unit_cost: Decimal = _ZERO
    is_rolled_over: bool = False

    def admits(self, use: Use) -> bool:
        """Tell whether the use lies in the grant's scope, and its hour touches the grant's life.

        Usage is known by the hour: a grant that was in force for a part of it serves all of it.
        """
        lives = (Life(self.effective_at, self.expires_at), self.origin_life)
        return (
            any(life.touches(use.period) for life in lives if life)
            and self.workspace_id in (None, use.workspace_id)
            and (not self.meter_codes or use.meter_code in self.meter_codes)
        )
