"""Usage windows beside what was rated of them, and what a billing period came to."""

from collections.abc import Collection
from decimal import Decimal
from typing import cast

from django.db import connection
from django.db.models import (
    DateTimeField,
    Exists,
    ExpressionWrapper,
    OuterRef,
    QuerySet,
    Sum,
    Value,
)
from django.db.models.functions import Coalesce

from billing_project.kernel.period import HOUR
from credits.models import BillingPeriod, RatedUsage, WindowRating
from metering.models import UsageWindow

# The lines of `windows_to_rate`, once more as text: each invoice asks it.
_HAS_USAGE_TO_RATE = """
SELECT EXISTS (SELECT FROM outbox_message
                WHERE topic IN ('usage_changed', 'rating_blocked') AND object_id = %(customer)s)
    OR EXISTS (SELECT FROM usage_window w
                WHERE w.customer_id = %(customer)s
                  AND NOT EXISTS (SELECT FROM window_rating r
                                   WHERE r.window_id = w.id AND r.revision >= w.revision)
                  AND EXISTS (SELECT FROM billing_period b
                               WHERE b.customer_id = w.customer_id
                                 AND b.start_at < w.start_at + interval '1 hour'
                                 AND b.end_at > w.start_at))
"""


def has_usage_to_rate(customer_id: int) -> bool:
    """Tell whether rating would find anything of a customer: a note, or a window that changed."""
    with connection.cursor() as cursor:
        cursor.execute(_HAS_USAGE_TO_RATE, {"customer": customer_id})
        return bool(cursor.fetchone()[0])


def unrated_windows(customer_id: int | None = None) -> QuerySet[UsageWindow]:
    """List windows that changed since they were rated, oldest first.

    `is_in_period` tells why one waits: without it no billing period is open for it; with it, it is
    about to be rated or no approved rate matches it.
    """
    windows = _changed_windows(customer_id)
    return windows.annotate(is_in_period=Exists(_periods_touched()))


def windows_to_rate(customer_ids: Collection[int]) -> QuerySet[UsageWindow]:
    """List customers' windows that changed since they were rated and lie in a billing period.

    Each says whether it was rated before: `was_rated`.
    """
    was_rated = Exists(WindowRating.objects.filter(window_id=OuterRef("pk")))
    windows = _changed_windows(None).filter(customer_id__in=customer_ids)
    return windows.filter(Exists(_periods_touched())).annotate(was_rated=was_rated)


def drawn_of_period(billing_period: BillingPeriod) -> Decimal:
    """Return the credits that grants paid in a billing period, unrounded."""
    return _sum_of_period(billing_period, "drawn")


def overage_of_period(billing_period: BillingPeriod) -> Decimal:
    """Return the credits of a billing period that no grant covered, unrounded."""
    return _sum_of_period(billing_period, "overage")


def _changed_windows(customer_id: int | None) -> QuerySet[UsageWindow]:
    rated = WindowRating.objects.filter(
        window_id=OuterRef("pk"), revision__gte=OuterRef("revision")
    )
    windows = UsageWindow.objects.filter(~Exists(rated))
    if customer_id is not None:
        windows = windows.filter(customer_id=customer_id)
    return windows.order_by("start_at", "meter__code", "dimensions_key", "pk")


def _periods_touched() -> QuerySet[BillingPeriod]:
    """A window belongs to the period that its hour touches; `period_of` settles a shared hour."""
    hour_end = ExpressionWrapper(OuterRef("start_at") + Value(HOUR), output_field=DateTimeField())
    return BillingPeriod.objects.filter(
        customer_id=OuterRef("customer_id"),
        start_at__lt=hour_end,
        end_at__gt=OuterRef("start_at"),
    )


def _sum_of_period(billing_period: BillingPeriod, column: str) -> Decimal:
    rows = RatedUsage.objects.filter(billing_period=billing_period)
    return cast(Decimal, rows.aggregate(total=Coalesce(Sum(column), Decimal(0)))["total"])
