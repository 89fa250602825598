"""Turn changed usage windows into charges, and hand each to the burner to be paid."""

import logging
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.models import User
from billing_project.kernel.quantity import plain
from credits.models import BillingPeriod, Rate, RatedUsage
from credits.rating import Charge, ChargeOutOfBounds, RatedSoFar, Tier, charge_difference
from credits.selectors.facts import (
    Earlier,
    Group,
    Rulebook,
    Scope,
    rated_in_scopes,
    rated_of_groups,
    rated_of_windows,
    use_of,
)
from credits.services.burning import Bill, Burner
from metering.aggregation import ADDITIVE
from metering.models import UsageWindow
from metering.selectors.windows import period_quantity

log = logging.getLogger(__name__)


class Pricer:
    """Rates a batch of windows of one customer, in the order given, under the customer's lock."""

    def __init__(
        self,
        windows: Iterable[UsageWindow],
        rules: Rulebook,
        *,
        customer_id: int,
        by: User,
        at: datetime,
    ) -> None:
        self._windows, self._rules, self._at = list(windows), rules, at
        for window in self._windows:
            window.meter = rules.meters[window.meter_id]
        self._burner = Burner(customer_id, rules, by, at)
        periods = {p.pk for w in self._windows if (p := rules.period_of(w.start_at))}
        others = {w.meter_id for w in self._windows if w.meter.aggregation not in ADDITIVE}
        self._of_window = rated_of_windows(window.pk for window in self._windows)
        self._of_group = rated_of_groups(periods, others) if others else {}
        self._so_far: dict[Scope, RatedSoFar] = rated_in_scopes(periods)
        self._group_quantity: dict[Group, Decimal] = {}

    def rate_all(self) -> int:
        """Rate every window and return how many rows of rated usage that made."""
        for window in self._windows:
            period = self._rules.period_of(window.start_at)
            if period is not None:
                self._rate(window, period)
        return self._burner.flush()

    def _rate(self, window: UsageWindow, period: BillingPeriod) -> None:
        quantity, earlier = self._measure(window, period)
        rate = self._rules.rates[earlier.rate_id] if earlier else self._rules.rate_of(window)
        policy = self._rules.policy_of(window.start_at)
        if rate is None or policy is None:
            return
        change = quantity - (earlier.quantity if earlier else 0)
        charge = self._charge(window, period, rate, change)
        if charge is None:
            return
        row = self._row(window, period, rate, change, charge)
        use = use_of(window.start_at, period, (window.workspace_id, window.meter.code))
        bill = Bill(row, use, period, policy)
        if charge.total >= 0:
            self._burner.pay(bill)
        else:
            self._burner.undo(bill)

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
        scope = (period.pk, rate.pk, window.workspace_id)
        so_far = self._so_far.get(scope, RatedSoFar())
        try:
            charge = charge_difference(so_far, change, rate.unit_price)
        except ChargeOutOfBounds as error:
            log.error("charge out of bounds", extra={"window": window.pk, "reason": str(error)})
            return None
        self._so_far[scope] = so_far.plus(change, charge.total)
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
    return {
        "quantity": plain(tier.quantity),
        "unit_price": plain(tier.unit_price),
        "charge": plain(tier.charge),
    }
