"""Commitments that run at an instant: minimums of terms that are not over."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from billing_project.kernel.money import Money
from credits.models import BillingPeriod
from invoicing.items import Item
from invoicing.models import PlanItem, Subscription
from invoicing.periods import Unit, bound
from invoicing.selectors.arrears import intervals_of
from invoicing.selectors.changes import opening_of
from invoicing.selectors.plans import billing_periods_of, items_of, plan_version_of


@dataclass(frozen=True)
class RunningCommit:
    """A minimum of a term that has begun and is not over.

    Attributes:
        period_ids: Billing periods of the term so far: what they claim counts toward it.
        kinds: Kinds of lines that count.
    """

    customer_id: int
    name: str
    minimum: Money
    period_ids: tuple[int, ...]
    kinds: tuple[str, ...]
    start_at: datetime
    end_at: datetime


def running_commits(at: datetime) -> Iterator[RunningCommit]:
    """List them by subscription; a term of one period ends with it, and one that ended is none."""
    with_commit = PlanItem.objects.filter(kind="commit").values("plan_version")
    sold = Subscription.objects.filter(
        Q(plan_version__in=with_commit) | Q(changes__plan_version__in=with_commit),
        Q(ends_at=None) | Q(ends_at__gt=at),
        start_at__lt=at,
    )
    for subscription in sold.select_related("customer").distinct().order_by("pk"):
        last = billing_periods_of(subscription).filter(start_at__lt=at).last()
        if last is None:
            continue
        version = plan_version_of(last)
        for item in items_of(version, "commit"):
            yield from _running(item, subscription, last, version.currency, at)


def _running(
    item: Item, subscription: Subscription, last: BillingPeriod, currency: str, at: datetime
) -> Iterator[RunningCommit]:
    intervals = intervals_of(subscription, last)
    index = len(intervals) - 1
    begun = index % item.periods
    version, opened = plan_version_of(last), opening_of(last)
    ends_at = bound(
        opened.interval.start, Unit(version.interval_unit), version.interval_count,
        item.periods - begun, subscription.customer.time_zone,
    )  # fmt: skip
    if ends_at > at:
        term = [period for interval in intervals[index - begun :] for period in interval]
        yield RunningCommit(
            subscription.customer_id, item.name, Money(item.amount_minor, currency),
            tuple(period.pk for period in term), item.kinds, term[0].start_at, ends_at,
        )  # fmt: skip
