"""Keep count of what limits were used, and warn once at each mark; under the customer's lock."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.apart import each_apart
from billing_project.kernel.quantity import plain
from credits.models import Alert, AlertKind, SpendCounter, SpendLimit
from credits.selectors.remembered import approved_rules
from credits.selectors.spending import (
    LimitUse,
    Place,
    counted_limits,
    limit_uses,
    rated_since,
)
from credits.services.alerting import raise_alerts
from credits.services.forecasting import forecast_limits
from metering.models import Customer
from metering.services.customers import lock_customer

_ZERO = Decimal(0)


def bring_up_to_date(
    limits: Sequence[SpendLimit], customer: Customer, at: datetime
) -> dict[tuple[int, datetime], SpendCounter]:
    """Add to each limit's counter what was rated since; return them by limit and window."""
    pairs = counted_limits(limits, customer.time_zone, at)
    if not pairs:
        return {}
    rows = SpendCounter.objects.filter(
        limit_id__in=[limit.pk for limit, _ in pairs],
        start_at__in={window.start for _, window in pairs},
    )
    known = {(row.limit_id, row.start_at, row.end_at): row for row in rows}
    found = {}
    for limit, window in pairs:
        row = known.get((limit.pk, window.start, window.end)) or SpendCounter(
            limit=limit, start_at=window.start, end_at=window.end, credits=_ZERO
        )
        added, last = rated_since(limit, window, row.through_id)
        if row.pk is None or last != row.through_id:
            row.credits, row.through_id = row.credits + added, last
            row.save()
        found[limit.pk, window.start] = row
    return found


def warn_of_limits(
    customer: Customer, uses: Iterable[LimitUse], more: Decimal, at: datetime
) -> None:
    """Raise an alert for each mark of a limit that is reached, once in its window.

    Args:
        more: Credits that come on top of what the uses say.
    """
    for use in uses:
        percent = use.state.percent_with(more)
        if percent:
            _warn(customer, use, percent, more, at)


@transaction.atomic
def watch_limits(*, customer: Customer, at: datetime) -> None:
    """Warn of limits that usage reached without asking first, or will reach at this pace."""
    locked = lock_customer(customer.pk)
    limits = approved_rules().limits_of(locked.pk, at)
    counters = bring_up_to_date(limits, locked, at)
    counted = [limit for limit, _ in counted_limits(limits, locked.time_zone, at)]
    nowhere = Place(None, "", "", None)
    uses = limit_uses(counted, counters, locked, nowhere, at)
    warn_of_limits(locked, uses, _ZERO, at)
    forecast_limits(locked, uses, at)


def watch_due_limits(*, at: datetime) -> int:
    """Look at every customer who has limits; return how many."""
    ids = SpendLimit.objects.order_by("customer_id").values_list("customer_id", flat=True)
    customers = Customer.objects.filter(pk__in=ids.distinct()).order_by("pk")

    def watch(customer: Customer) -> int:
        watch_limits(customer=customer, at=at)
        return 1

    return each_apart(customers, watch, step="watch_limits")


def _warn(customer: Customer, use: LimitUse, percent: int, more: Decimal, at: datetime) -> None:
    limit, window = use.limit, use.window
    span = window.start.isoformat() if window else f"job:{use.job}"
    raise_alerts(
        [
            Alert(
                customer=customer,
                kind=AlertKind.SPEND_LIMIT,
                title=f"{limit.code} is used up to {percent} %",
                facts={**use.document(), "job": use.job, "percent": percent, "asked": plain(more)},
                raised_at=at,
                source_key=f"spend_limit:{limit.pk}:{span}:{percent}",
            )
        ]
    )
