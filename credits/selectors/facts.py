"""What rating needs to know of a customer, read once for thousands of windows."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Min, Q, QuerySet, Sum

from billing_project.kernel.period import HOUR, Period, hour_of
from credits.drawdown import Use
from credits.history import PeriodHistory, RatedWindow, Stack
from credits.models import (
    BillingPeriod,
    CreditGrant,
    CreditPolicy,
    LedgerTransaction,
    Pools,
    Rate,
    RatedUsage,
    RateTotal,
    WindowRating,
)
from credits.rating import RatedSoFar
from credits.selectors.governing import is_in_force
from credits.selectors.lapsed import OF_NOTES
from credits.selectors.prices import Prices
from metering.aggregation import ADDITIVE
from metering.models import Meter, UsageWindow
from metering.selectors.windows import windows_in

INSTANT = timedelta(microseconds=1)
# Billing period, meter, workspace, dimensions: what has one quantity over the whole period.
Group = tuple[int, int, int | None, str]
# Billing period, rate, workspace: over what charges accumulate. The workspace is None, too, for a
# rate that pools the usage of the whole account.
Scope = tuple[int, int, int | None]


class Rulebook:
    """One customer's billing periods, and what governs in them."""

    def __init__(
        self,
        customer_id: int,
        periods: Sequence[BillingPeriod] | None = None,
        prices: Prices | None = None,
    ) -> None:
        self.periods = list(_periods([customer_id]) if periods is None else periods)
        self.customer_id = customer_id
        self.prices = prices or Prices({p.rate_card_id for p in self.periods}, [customer_id])
        self._starts = [period.start_at for period in self.periods]

    @property
    def meters(self) -> dict[int, Meter]:
        """All meters by id."""
        return self.prices.meters

    @property
    def rates(self) -> dict[int, Rate]:
        """Approved rates by id."""
        return self.prices.rates

    @property
    def policies(self) -> list[CreditPolicy]:
        """Approved burn orders, the one that governs last first."""
        return self.prices.policies

    def period_of(self, start_at: datetime) -> BillingPeriod | None:
        """Find the period that a window belongs to: the one that its hour starts in.

        Where none covers the hour's start, a period that begins within the hour takes it.
        """
        following = bisect_right(self._starts, start_at)
        if following and start_at < self.periods[following - 1].end_at:
            return self.periods[following - 1]
        if following < len(self.periods) and self._starts[following] < start_at + HOUR:
            return self.periods[following]
        return None

    def hours_of(self, period: BillingPeriod) -> Period:
        """Return the whole hours whose windows belong to a period."""
        first = hour_of(period.start_at)
        if self.period_of(first) != period:
            first += HOUR
        return Period(first, hour_of(period.end_at - INSTANT) + HOUR)

    def rate_of(self, window: UsageWindow) -> Rate | None:
        """Find the rate that prices a window which was not rated before.

        The customer's override comes first; what it has no rate for, its base prices.
        """
        period = self.period_of(window.start_at)
        if period is None:
            return None
        used_at = max(window.start_at, period.start_at)
        for version in self.prices.standing(self.customer_id, period.rate_card_id, used_at):
            if rate := self.prices.match(version, window):
                return rate
        return None

    def policy_of(self, start_at: datetime) -> CreditPolicy | None:
        """Find the burn order that governs at a window's start, or its period's within the hour."""
        period = self.period_of(start_at)
        used_at = max(start_at, period.start_at) if period else start_at
        for policy in self.policies:
            if is_in_force(policy.policy_change, used_at):
                return policy
        return None


def rulebooks(customer_ids: Collection[int]) -> dict[int, Rulebook]:
    """Read the rulebooks of many customers, who share what is approved."""
    by_customer: dict[int, list[BillingPeriod]] = {pk: [] for pk in customer_ids}
    for period in _periods(customer_ids):
        by_customer[period.customer_id].append(period)
    cards = {period.rate_card_id for periods in by_customer.values() for period in periods}
    prices = Prices(cards, customer_ids)
    return {pk: Rulebook(pk, periods, prices) for pk, periods in by_customer.items()}


@dataclass(frozen=True)
class Earlier:
    """What was rated of one window or group; its first rate prices its corrections too."""

    quantity: Decimal
    rate_id: int


def scope_of(period_id: int, rate: Rate, workspace_id: int | None) -> Scope:
    """Name what a rate's charges accumulate over."""
    return period_id, rate.pk, workspace_id if rate.pools == Pools.WORKSPACE else None


def stack_of(rate: Rate, use: Use) -> Stack:
    """Name the stack on which a charge of a rate is, where a correction finds it again.

    Uses of one workspace and meter share a stack: a scoped grant admits both or neither, so one
    may undo the other. A rate that pools the account undoes only its own, in any workspace.
    """
    if rate.pools == Pools.ACCOUNT:
        return rate.pk, None, use.meter_code
    return None, use.workspace_id, use.meter_code


def use_of(window_start: datetime, period: BillingPeriod, place: tuple[int | None, str]) -> Use:
    """Cut a window's hour to its billing period: grants are judged by what remains of it.

    To the end that the period was opened with: a cut changes nothing for usage before it.
    """
    hour = Period(max(window_start, period.start_at), min(window_start + HOUR, period.full_end_at))
    return Use(hour, *place)


def rated_of_windows(window_ids: Collection[int]) -> dict[int, Earlier]:
    """Return what was rated of each window."""
    rows = WindowRating.objects.filter(window_id__in=window_ids)
    return {
        pk: Earlier(quantity, rate_id)
        for pk, quantity, rate_id in rows.values_list("window_id", "quantity", "rate_id")
    }


def rated_of_groups(period_ids: Iterable[int], meter_ids: Iterable[int]) -> dict[Group, Earlier]:
    """Sum what was rated of each group of meters that have one quantity over a period."""
    rows = WindowRating.objects.filter(
        billing_period_id__in=period_ids, window__meter_id__in=meter_ids
    ).values_list(
        "billing_period_id", "window__meter_id", "window__workspace_id", "window__dimensions_key"
    )
    sums = rows.annotate(Sum("quantity"), Min("rate_id")).order_by()
    return {(p, m, w, d): Earlier(quantity, rate_id) for p, m, w, d, quantity, rate_id in sums}


def is_group_rated(window: UsageWindow, rules: Rulebook) -> bool:
    """Tell whether other hours were rated of what has one quantity over a window's period."""
    period = rules.period_of(window.start_at)
    if period is None or rules.meters[window.meter_id].aggregation in ADDITIVE:
        return False
    same = WindowRating.objects.filter(
        billing_period_id=period.pk,
        window__meter_id=window.meter_id,
        window__dimensions_key=window.dimensions_key,
    )
    return same.filter(Q(window__workspace_id=window.workspace_id)).exists()


def rated_in_scopes(period_ids: Iterable[int]) -> dict[Scope, RatedSoFar]:
    """Return what was rated in each billing period at each rate, over what the rate pools."""
    rows = RateTotal.objects.filter(billing_period_id__in=period_ids)
    columns = ("billing_period_id", "rate_id", "rate__pools", "workspace_id", "quantity", "charge")
    found: dict[Scope, RatedSoFar] = {}
    for period_id, rate_id, pools, workspace_id, *sums in rows.values_list(*columns):
        scope = period_id, rate_id, workspace_id if pools == Pools.WORKSPACE else None
        found[scope] = found.get(scope, RatedSoFar()).plus(*sums)
    return found


def history_of(period: BillingPeriod, rules: Rulebook) -> PeriodHistory:
    """Fold a billing period's rated usage and ledger transactions.

    Reads each table by its own index and joins here: the rows are many, and new.
    """
    history = PeriodHistory()
    places = _places(period, rules)
    stacks: dict[int, Stack] = {}
    rated = RatedUsage.objects.filter(billing_period=period).order_by("pk")
    columns = ("window_id", "service_at", "window_revision", "rate_id", "rate_card_version_id")
    sums = ("charge", "overage", "forgiven")
    for pk, charge, overage, forgiven, *window in rated.values_list("pk", *sums, *columns):
        rated_window = RatedWindow(*window)
        workspace_id, meter_code, dimensions_key = places[rated_window.id]
        use = use_of(rated_window.start_at, period, (workspace_id, meter_code))
        stacks[pk] = stack_of(rules.rates[rated_window.rate_id], use)
        history.add_overage(stacks[pk], rated_window, use, overage, is_cover=not charge)
        history.add_forgiven(stacks[pk], (workspace_id, dimensions_key), forgiven)
    # What a linked grant paid is effective from when the grant was, however old the usage.
    linked = CreditGrant.objects.filter(customer_id=period.customer_id, origin__isnull=False)
    burned = LedgerTransaction.objects.filter(
        Q(effective_at__lt=period.full_end_at)
        | Q(grant__in=linked.values("pk"))
        | Q(reason_code__in=OF_NOTES),
        customer_id=period.customer_id,
        effective_at__gte=period.start_at,
        rated_usage__isnull=False,
    ).order_by("pk")
    for rated_id, grant_id, amount in burned.values_list("rated_usage_id", "grant_id", "credits"):
        if rated_id in stacks:
            history.add_draw(stacks[rated_id], grant_id, amount)
    return history


def _periods(customer_ids: Collection[int]) -> QuerySet[BillingPeriod]:
    periods = BillingPeriod.objects.filter(customer_id__in=customer_ids)
    return periods.select_related("rate_card").order_by("start_at")


def _places(period: BillingPeriod, rules: Rulebook) -> dict[int, tuple[int | None, str, str]]:
    """Map the period's windows to their workspace, meter and dimensions."""
    hours = rules.hours_of(period)
    windows = windows_in(period.customer_id, hours.start, hours.end).select_related(None)
    columns = ("pk", "workspace_id", "meter_id", "dimensions_key")
    return {
        pk: (workspace_id, rules.meters[meter_id].code, dimensions_key)
        for pk, workspace_id, meter_id, dimensions_key in windows.values_list(*columns)
    }
