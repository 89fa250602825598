"""Close the usage of a period: what is reported for it from then on is late.

A period is closed by its first overage invoice; one without any is closed once its grace is over.
Metering keeps the fact, because it judges the events.
"""

from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import CharField, Exists, OuterRef, QuerySet, Value
from django.db.models.functions import Cast, Concat

from billing_project.kernel.apart import each_apart
from billing_project.kernel.period import Period
from credits.models import BillingPeriod
from invoicing.models import Invoice
from invoicing.selectors import arrears_lines, overage_state, plan_version_of
from metering.models import InvoicedUsage
from metering.services.customers import lock_customer
from metering.services.late import record_invoiced_usage


def is_usage_closed(billing_period: BillingPeriod) -> bool:
    """Tell whether a period's usage was invoiced, or ended without any to invoice."""
    return InvoicedUsage.objects.filter(source_key=_key(billing_period)).exists()


def close_usage(billing_period: BillingPeriod, at: datetime) -> bool:
    """Keep that a period's usage is invoiced; call it under the customer's lock.

    Returns:
        Whether it was open until now.
    """
    return record_invoiced_usage(
        customer_id=billing_period.customer_id,
        period=Period(billing_period.start_at, billing_period.end_at),
        source_key=_key(billing_period),
        at=at,
    )


def close_quiet_periods(*, at: datetime) -> int:
    """Close the periods whose grace is over and that have nothing to claim; return how many."""
    return each_apart(_open_periods(at), partial(_close_quiet, at=at), step="close_usage")


@transaction.atomic
def _close_quiet(billing_period: BillingPeriod, at: datetime) -> int:
    grace = timedelta(hours=plan_version_of(billing_period).grace_hours)
    if at < billing_period.end_at + grace:
        return 0
    lock_customer(billing_period.customer_id)
    prefix = f"billing_period:{billing_period.pk}:overage"
    if (
        Invoice.objects.filter(
            customer_id=billing_period.customer_id,
            source_key__startswith=prefix,
            ready_at__gte=billing_period.end_at,  # One of a threshold closes nothing,
            lines__isnull=False,  # nor does one that lost its usage.
        ).exists()
        or overage_state(billing_period).unbilled > 0
        or arrears_lines(billing_period, None)
    ):
        return 0  # Its invoice closes it.
    close_usage(billing_period, at)
    return 1


def _open_periods(at: datetime) -> QuerySet[BillingPeriod]:
    key = Concat(Value("billing_period:"), Cast(OuterRef("pk"), CharField()))
    closed = InvoicedUsage.objects.filter(source_key=key)
    return BillingPeriod.objects.filter(
        ~Exists(closed), end_at__lte=at, source_key__startswith="subscription:"
    ).order_by("end_at", "id")


def _key(billing_period: BillingPeriod) -> str:
    return f"billing_period:{billing_period.pk}"
