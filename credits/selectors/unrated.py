"""Usage that waits unrated: by reason, meter and model, with how much and whose it is."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from django.db.models import Count, Exists, Min, OuterRef, QuerySet, Sum
from django.db.models.expressions import RawSQL

from billing_project.kernel.period import hour_of
from credits.models import UnratedEpisode, WindowRating
from credits.selectors.facts import Rulebook, is_group_rated, rulebooks
from credits.selectors.usage import unrated_windows, windows_to_rate
from metering.models import Meter, UsageWindow

BLOCKED = "rating_blocked"  # Notes of customers whose usage waits for an approval, or is too much.
MOST_WINDOWS = 100_000  # That a page looks at; an alert looks at all.
MODEL_LENGTH = 400
_PAGE = 2_000
_CUSTOMERS = 500  # Whose usage is added up by one question.
_WAS_RATED = Exists(WindowRating.objects.filter(window_id=OuterRef("pk")))


class Reason(StrEnum):
    """Why usage waits."""

    NO_RATE = "no_rate"
    NO_PERIOD = "no_period"
    NO_BURN_ORDER = "no_burn_order"
    IS_NEXT = "is_next"  # The worker takes it within seconds.


@dataclass
class UnratedGroup:
    """Windows of one meter and model that wait for the same reason."""

    reason: Reason
    meter: Meter
    model: str  # "" where usage names none.
    dimensions: dict[str, str]  # Of the oldest window.
    first_used_at: datetime
    window_count: int = 0
    quantity: Decimal = Decimal(0)  # In the meter's unit.
    customer_ids: set[int] = field(default_factory=set)

    def add(self, window: UsageWindow, count: int = 1) -> None:
        """Count one more window, or one that stands for several with the sum of their quantity."""
        self.window_count += count
        self.quantity += window.quantity
        self.customer_ids.add(window.customer_id)
        if window.start_at < self.first_used_at:
            self.first_used_at, self.dimensions = window.start_at, window.dimensions


@dataclass(frozen=True)
class WithoutRate:
    """What of one customer waits for a rate; the quantity is a sum over all its meters' units."""

    window_count: int
    quantity: Decimal
    first_used_at: datetime


_Groups = dict[tuple[Reason, int, str], UnratedGroup]


@dataclass(frozen=True)
class Unrated:
    """All that waits, the largest groups first; `is_cut` where more waits than was looked at."""

    groups: tuple[UnratedGroup, ...]
    is_cut: bool


def unrated_usage(most: int = MOST_WINDOWS) -> Unrated:
    """Group all usage that waits, for a page."""
    waiting = unrated_windows().annotate(was_rated=_WAS_RATED)
    windows = list(waiting.order_by("customer_id", "pk")[: most + 1])
    groups = _grouped(windows[:most])
    return Unrated(_sorted(groups), len(windows) > most)


def usage_without_rate(customer_ids: Collection[int]) -> list[UnratedGroup]:
    """Group the usage of customers that lies in a billing period and matches no rate in force.

    PostgreSQL adds up what has one answer: windows of one customer, workspace, meter and dimensions
    between two instants at which a period, a version or a pin begins or ends.
    """
    groups: _Groups = {}
    for window, count, rules in _in_parts(customer_ids):
        _put(groups, window, rules, count)
    return [group for group in _sorted(groups.values()) if group.reason == Reason.NO_RATE]


def without_rate_by_customer(
    customer_ids: Collection[int], meter_id: int | None
) -> dict[int, WithoutRate]:
    """Add up of each customer what `usage_without_rate` groups; of one meter where one is named."""
    found: dict[int, WithoutRate] = {}
    for window, count, rules in _in_parts(customer_ids):
        is_meant = meter_id in (None, window.meter_id)
        if is_meant and _reason(window, rules) == Reason.NO_RATE:
            one = found.get(window.customer_id, WithoutRate(0, Decimal(0), window.start_at))
            found[window.customer_id] = WithoutRate(
                one.window_count + count,
                one.quantity + window.quantity,
                min(one.first_used_at, window.start_at),
            )
    return found


def never_rated_in(customer_ids: Collection[int]) -> dict[int, Counter[Reason]]:
    """Count the windows in billing periods of customers that were never rated, by period."""
    found: dict[int, Counter[Reason]] = defaultdict(Counter)
    known = rulebooks(sorted(customer_ids))
    for window, count in _summed(known):
        rules = known[window.customer_id]
        if (period := rules.period_of(window.start_at)) is not None:
            found[period.pk][_reason(window, rules)] += count
    return found


def open_unrated_episodes() -> QuerySet[UnratedEpisode]:
    """List the episodes of usage without a rate that go on, the newest first."""
    return UnratedEpisode.objects.filter(closed_at=None).select_related("meter", "acknowledged_by")


def _in_parts(customer_ids: Collection[int]) -> Iterator[tuple[UsageWindow, int, Rulebook]]:
    """Yield what `_summed` does and the rules of its customer, some customers at a time."""
    known = sorted(customer_ids)
    for start in range(0, len(known), _CUSTOMERS):
        rules = rulebooks(known[start : start + _CUSTOMERS])
        for window, count in _summed(rules):
            yield window, count, rules[window.customer_id]


def _summed(rules: Mapping[int, Rulebook]) -> Iterator[tuple[UsageWindow, int]]:
    """Yield windows of customers that were never rated, each standing for so many, the oldest."""
    bounds: set[datetime] = set()
    for of_customer in rules.values():
        bounds |= of_customer.prices.instants()
        ends = {instant for p in of_customer.periods for instant in (p.start_at, p.end_at)}
        # A window whose hour a period begins in is judged by that beginning, not by the hour's.
        bounds |= ends | {hour_of(instant) for instant in ends}
    span = RawSQL("width_bucket(usage_window.start_at, %s::timestamptz[])", [sorted(bounds)])
    same = ("customer_id", "workspace_id", "meter_id", "dimensions_key", "dimensions", "span")
    rows = windows_to_rate(list(rules)).exclude(_WAS_RATED).order_by().annotate(span=span)
    sums = rows.values_list(*same).annotate(Min("start_at"), Sum("quantity"), Count("pk"))
    for customer_id, workspace_id, meter_id, key, dimensions, _, start_at, quantity, count in sums:
        window = UsageWindow(
            customer_id=customer_id, workspace_id=workspace_id, meter_id=meter_id,
            dimensions_key=key, dimensions=dimensions, start_at=start_at, quantity=quantity,
        )  # fmt: skip
        window.was_rated = False  # type: ignore[attr-defined]
        yield window, count


def _grouped(windows: Iterable[UsageWindow]) -> list[UnratedGroup]:
    groups: _Groups = {}
    for page in _pages(windows):
        rules = rulebooks({window.customer_id for window in page})
        for window in page:
            _put(groups, window, rules[window.customer_id])
    return list(groups.values())


def _put(groups: _Groups, window: UsageWindow, rules: Rulebook, count: int = 1) -> None:
    reason = _reason(window, rules)
    model = str(window.dimensions.get("model") or "")[:MODEL_LENGTH]
    key = (reason, window.meter_id, model)
    if key not in groups:
        meter = rules.meters[window.meter_id]
        groups[key] = UnratedGroup(reason, meter, model, window.dimensions, window.start_at)
    groups[key].add(window, count)


def _pages(windows: Iterable[UsageWindow]) -> Iterator[list[UsageWindow]]:
    """Cut windows into pages of few customers: rules are read once for each page."""
    page: list[UsageWindow] = []
    for window in windows:
        page.append(window)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


def _reason(window: UsageWindow, rules: Rulebook) -> Reason:
    if rules.period_of(window.start_at) is None:
        return Reason.NO_PERIOD
    if window.was_rated:  # type: ignore[attr-defined]  # Its first rate prices it again.
        return Reason.IS_NEXT
    if rules.rate_of(window) is None and not is_group_rated(window, rules):
        return Reason.NO_RATE
    return Reason.IS_NEXT if rules.policy_of(window.start_at) else Reason.NO_BURN_ORDER


def _sorted(groups: Iterable[UnratedGroup]) -> tuple[UnratedGroup, ...]:
    reasons = list(Reason)
    return tuple(
        sorted(groups, key=lambda g: (reasons.index(g.reason), -g.window_count, g.meter.code))
    )
