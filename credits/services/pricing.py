"""Turn changed usage windows into charges, and hand each to the burner to be paid."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.quantity import plain
from credits.models import BillingPeriod, Rate, RatedUsage
from credits.rating import RatedSoFar, advance
from credits.selectors.facts import (
    Earlier,
    Group,
    Rulebook,
    Scope,
    rated_in_scopes,
    rated_of_groups,
    rated_of_windows,
    scope_of,
    stack_of,
    use_of,
)
from credits.services.burning import Bill, Burner
from credits.tariff import Charge, ChargeOutOfBounds, Tier
from metering.aggregation import ADDITIVE
from metering.models import UsageWindow
from metering.selectors.windows import period_quantity

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Before:
    """What was rated until now: of windows, of groups with one quantity a period, at rates."""

    of_window: dict[int, Earlier]
    of_group: dict[Group, Earlier]
    so_far: dict[Scope, RatedSoFar]


def rated_before(windows: Collection[UsageWindow], rules: Mapping[int, Rulebook]) -> Before:
    """Read what was rated before of customers' windows.

    Args:
        rules: By customer.
    """
    found = (rules[window.customer_id].period_of(window.start_at) for window in windows)
    periods = {period.pk for period in found if period}
    others = {
        window.meter_id
        for window in windows
        if rules[window.customer_id].meters[window.meter_id].aggregation not in ADDITIVE
    }
    return Before(
        of_window=rated_of_windows([window.pk for window in windows]),
        of_group=rated_of_groups(periods, others) if others else {},
        so_far=rated_in_scopes(periods),
    )


class Pricer:
    """Rates windows of one customer, in the order given, under the customer's lock."""

    def __init__(self, rules: Rulebook, before: Before, burner: Burner, at: datetime) -> None:
        self._rules, self._burner, self._at = rules, burner, at
        self._of_window, self._of_group = before.of_window, before.of_group
        self._so_far = before.so_far
        self._group_quantity: dict[Group, Decimal] = {}

    def rate_all(self, windows: Iterable[UsageWindow]) -> bool:
        """Rate every window; what came of it goes to the burner's pages.

        Returns:
            Whether some window has to wait, because no charge of that size can be kept.
        """
        is_held = False
        for window in windows:
            window.meter = self._rules.meters[window.meter_id]
            period = self._rules.period_of(window.start_at)
            if period is not None and not self._rate(window, period):
                is_held = True
        return is_held

    def _rate(self, window: UsageWindow, period: BillingPeriod) -> bool:
        """Rate a window; tell whether that is done with."""
        quantity, earlier = self._measure(window, period)
        rate = self._rules.rates[earlier.rate_id] if earlier else self._rules.rate_of(window)
        policy = self._rules.policy_of(window.start_at)
        if rate is None or policy is None:
            return True
        change = quantity - (earlier.quantity if earlier else 0)
        charge = self._charge(window, period, rate, change)
        if charge is None:
            return False
        row = self._row(window, period, rate, change, charge)
        use = use_of(window.start_at, period, (window.workspace_id, window.meter.code))
        bill = Bill(row, use, stack_of(rate, use), period, policy, window.dimensions_key)
        if charge.total >= 0:
            self._burner.pay(bill)
        else:  # A correction; or growth that reached a tier at which all units cost less.
            self._burner.undo(bill)
        return True

    def _measure(
        self, window: UsageWindow, period: BillingPeriod
    ) -> tuple[Decimal, Earlier | None]:
        """Return the quantity now, and what was rated of it: of the window or of its period."""
        if window.meter.aggregation in ADDITIVE:
            return window.quantity, self._of_window.get(window.pk)
        group = (period.pk, window.meter_id, window.workspace_id, window.dimensions_key)
        if group not in self._group_quantity:
            hours = self._rules.hours_of(period)
            self._group_quantity[group] = period_quantity(window, hours.start, hours.end)
        return self._group_quantity[group], self._of_group.get(group)

    def _charge(
        self, window: UsageWindow, period: BillingPeriod, rate: Rate, change: Decimal
    ) -> Charge | None:
        scope = scope_of(period.pk, rate, window.workspace_id)
        so_far = self._so_far.get(scope, RatedSoFar())
        try:
            charge, now = advance(so_far, change, self._rules.prices.tariff(rate))
        except ChargeOutOfBounds as error:
            log.error("charge out of bounds", extra={"window": window.pk, "reason": str(error)})
            return None
        self._so_far[scope] = now
        if window.meter.aggregation not in ADDITIVE:
            group = (period.pk, window.meter_id, window.workspace_id, window.dimensions_key)
            self._of_group[group] = Earlier(self._group_quantity[group], rate.pk)
        return charge

    def _row(
        self,
        window: UsageWindow,
        period: BillingPeriod,
        rate: Rate,
        change: Decimal,
        charge: Charge,
    ) -> RatedUsage:
        return RatedUsage(
            customer_id=window.customer_id,
            billing_period_id=period.pk,
            window_id=window.pk,
            window_revision=window.revision,
            service_at=window.start_at,
            rate_id=rate.pk,
            rate_card_version_id=rate.version_id,
            quantity=change,
            charge=charge.total,
            tiers=[_tier(tier) for tier in charge.tiers],
            rated_at=self._at,
            source_key=f"window:{window.pk}:r{window.revision}",
        )


def _tier(tier: Tier) -> dict[str, str]:
    row = {
        "quantity": plain(tier.quantity),
        "unit_price": plain(tier.unit_price),
        "charge": plain(tier.charge),
    }
    return {**row, "name": tier.name} if tier.name else row
