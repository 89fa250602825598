"""What rating needs to know of a customer, read once for thousands of windows."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property

from django.db.models import Min, QuerySet, Sum

from billing_project.kernel.period import HOUR, Period, hour_of
from credits.drawdown import Use
from credits.history import PeriodHistory, RatedWindow
from credits.models import (
    BillingPeriod,
    CreditPolicy,
    LedgerTransaction,
    Rate,
    RateCardVersion,
    RatedUsage,
    RateTotal,
    WindowRating,
)
from credits.rating import AmbiguousRate, RatedSoFar, RateOption, match_rate
from credits.selectors.governing import approved_policies, approved_versions
from metering.models import Meter, UsageWindow
from metering.selectors.windows import windows_in

INSTANT = timedelta(microseconds=1)
# Billing period, meter, workspace, dimensions: what has one quantity over the whole period.
Group = tuple[int, int, int | None, str]
# Billing period, rate, workspace: over what charges accumulate. A correction undoes charges of one
# workspace and meter; were they rounded over more than that, it could ask back more than they were.
Scope = tuple[int, int, int | None]


class Prices:
    """The approved rates and burn orders, and all meters: read once for many customers."""

    def __init__(self, rate_card_ids: set[int]) -> None:
        self._rate_card_ids = rate_card_ids
        self._matches: dict[tuple[int, str, str], int | None] = {}

    @cached_property
    def meters(self) -> dict[int, Meter]:
        """All meters by id: read once, not with each window."""
        return Meter.objects.in_bulk()

    @cached_property
    def versions(self) -> dict[int, list[RateCardVersion]]:
        """Approved versions by rate card, the one that governs last first."""
        by_card: dict[int, list[RateCardVersion]] = defaultdict(list)
        for version in approved_versions(self._rate_card_ids):
            by_card[version.rate_card_id].append(version)
        return by_card

    @cached_property
    def rates(self) -> dict[int, Rate]:
        """Rates of all those versions, by id."""
        ids = [version.pk for versions in self.versions.values() for version in versions]
        return {rate.pk: rate for rate in Rate.objects.filter(version_id__in=ids).order_by("pk")}

    @cached_property
    def policies(self) -> list[CreditPolicy]:
        """Approved burn orders, the one that governs last first."""
        return list(approved_policies())

    def governing(self, rate_card_id: int, start_at: datetime) -> RateCardVersion | None:
        """Find the version of a rate card that governs at an instant."""
        for version in self.versions.get(rate_card_id, []):
            if version.policy_change.effective_at <= start_at:
                return version
        return None

    def match(self, version: RateCardVersion, window: UsageWindow) -> Rate | None:
        """Find the rate of a version that fits a window's meter and dimensions."""
        code = self.meters[window.meter_id].code
        key = (version.pk, code, window.dimensions_key)
        if key not in self._matches:
            self._matches[key] = self._match(version.pk, code, window.dimensions)
        rate_id = self._matches[key]
        return None if rate_id is None else self.rates[rate_id]

    def _match(self, version_id: int, meter_code: str, dimensions: dict[str, str]) -> int | None:
        options = [
            RateOption(rate.pk, rate.dimensions, rate.unit_price)
            for rate in self.rates.values()
            if rate.version_id == version_id and rate.meter_code == meter_code
        ]
        try:
            match = match_rate(options, dimensions)
        except AmbiguousRate:  # Proposals refuse this; what slipped through waits, visible.
            return None
        return match.id if match else None


class Rulebook:
    """One customer's billing periods, and what governs in them."""

    def __init__(
        self,
        customer_id: int,
        periods: Sequence[BillingPeriod] | None = None,
        prices: Prices | None = None,
    ) -> None:
        self.periods = list(_periods([customer_id]) if periods is None else periods)
        self.prices = prices or Prices({period.rate_card_id for period in self.periods})
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
        """Find the rate that prices a window which was not rated before."""
        period = self.period_of(window.start_at)
        version = period and self.prices.governing(period.rate_card_id, window.start_at)
        return self.prices.match(version, window) if version else None

    def policy_of(self, start_at: datetime) -> CreditPolicy | None:
        """Find the burn order that governs at a window's start."""
        for policy in self.policies:
            if policy.policy_change.effective_at <= start_at:
                return policy
        return None


def rulebooks(customer_ids: Collection[int]) -> dict[int, Rulebook]:
    """Read the rulebooks of many customers, who share what is approved."""
    by_customer: dict[int, list[BillingPeriod]] = {pk: [] for pk in customer_ids}
    for period in _periods(customer_ids):
        by_customer[period.customer_id].append(period)
    cards = {period.rate_card_id for periods in by_customer.values() for period in periods}
    prices = Prices(cards)
    return {pk: Rulebook(pk, periods, prices) for pk, periods in by_customer.items()}


@dataclass(frozen=True)
class Earlier:
    """What was rated of one window or group; its first rate prices its corrections too."""

    quantity: Decimal
    rate_id: int


def use_of(window_start: datetime, period: BillingPeriod, place: tuple[int | None, str]) -> Use:
    """Cut a window's hour to its billing period: grants are judged by what remains of it."""
    hour = Period(max(window_start, period.start_at), min(window_start + HOUR, period.end_at))
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


def rated_in_scopes(period_ids: Iterable[int]) -> dict[Scope, RatedSoFar]:
    """Return what was rated in each billing period at each rate for each workspace."""
    rows = RateTotal.objects.filter(billing_period_id__in=period_ids)
    columns = ("billing_period_id", "rate_id", "workspace_id", "quantity", "charge")
    return {(p, r, w): RatedSoFar(*so_far) for p, r, w, *so_far in rows.values_list(*columns)}


def history_of(period: BillingPeriod, rules: Rulebook) -> PeriodHistory:
    """Fold a billing period's rated usage and ledger transactions.

    Reads each table by its own index and joins here: the rows are many, and new.
    """
    history = PeriodHistory()
    places = _places(period, rules)
    uses: dict[int, Use] = {}
    rated = RatedUsage.objects.filter(billing_period=period).order_by("pk")
    columns = ("window_id", "service_at", "window_revision", "rate_id", "rate_card_version_id")
    for pk, charge, overage, *window in rated.values_list("pk", "charge", "overage", *columns):
        rated_window = RatedWindow(*window)
        uses[pk] = use_of(rated_window.start_at, period, places[rated_window.id])
        history.add_overage(rated_window, uses[pk], overage, is_cover=not charge)
    burned = LedgerTransaction.objects.filter(
        customer_id=period.customer_id,
        effective_at__gte=period.start_at,
        effective_at__lt=period.end_at,
        rated_usage__isnull=False,
    ).order_by("pk")
    for rated_id, grant_id, amount in burned.values_list("rated_usage_id", "grant_id", "credits"):
        history.add_draw(uses[rated_id], grant_id, amount)
    return history


def _periods(customer_ids: Collection[int]) -> QuerySet[BillingPeriod]:
    periods = BillingPeriod.objects.filter(customer_id__in=customer_ids)
    return periods.select_related("rate_card").order_by("start_at")


def _places(period: BillingPeriod, rules: Rulebook) -> dict[int, tuple[int | None, str]]:
    """Map the period's windows to their workspace and meter."""
    hours = rules.hours_of(period)
    windows = windows_in(period.customer_id, hours.start, hours.end).select_related(None)
    return {
        pk: (workspace_id, rules.meters[meter_id].code)
        for pk, workspace_id, meter_id in windows.values_list("pk", "workspace_id", "meter_id")
    }
