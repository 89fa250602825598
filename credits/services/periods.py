"""Open the spans over which a customer's usage accumulates."""

from datetime import datetime

from django.db import transaction
from django.db.models import Max

from billing_project.kernel import outbox
from billing_project.kernel.errors import Conflict, IdempotencyConflict
from billing_project.kernel.period import Period, hour_of
from credits.models import BillingPeriod, RateCard, RatedUsage
from metering.models import Customer
from metering.services.customers import lock_customer


@transaction.atomic
def open_billing_period(
    *,
    customer: Customer,
    rate_card: RateCard,
    period: Period,
    source_key: str,
    at: datetime,
) -> BillingPeriod:
    """Open a billing period; usage of it that waited is rated next.

    Raises:
        IdempotencyConflict: the source key came before with other inputs.
        Conflict: another period of the customer overlaps, or rated an hour of this one.
    """
    lock_customer(customer.pk)
    wanted = (customer.pk, rate_card.pk, period.start, period.end)
    if earlier := BillingPeriod.objects.filter(source_key=source_key).first():
        if wanted != _inputs(earlier):
            raise IdempotencyConflict(f"{source_key} opened another billing period")
        return earlier
    _refuse_overlap(customer, period)
    _refuse_rated_hour(customer, period)
    opened = BillingPeriod.objects.create(
        customer=customer,
        rate_card=rate_card,
        start_at=period.start,
        end_at=period.end,
        source_key=source_key,
    )
    outbox.publish("usage_changed", [customer.pk], at)
    return opened


def end_billing_period(*, period: BillingPeriod, end_at: datetime, at: datetime) -> BillingPeriod:
    """Let a period end where other terms begin: earlier than it was opened for, or there again.

    Call it under the customer's lock, so that nothing is rated meanwhile; see `last_rated_hour`.

    Raises:
        Conflict: the period has usage from beyond that end, or was opened for a shorter time.
    """
    if period.end_at == end_at:
        return period
    full_end = period.full_end_at
    if not period.start_at < end_at <= full_end:
        raise Conflict(f"{period} ends after it starts, and by {full_end.isoformat()}")
    if (hour := last_rated_hour(period)) is not None and hour >= end_at:
        raise Conflict(f"usage of {hour.isoformat()} is rated in {period}", code="overlap")
    period.end_at, period.uncut_end_at = end_at, None if end_at == full_end else full_end
    period.save(update_fields=["end_at", "uncut_end_at"])
    outbox.publish("usage_changed", [period.customer_id], at)
    return period


def last_rated_hour(period: BillingPeriod) -> datetime | None:
    """Return the start of the last hour of a period that has rated usage; None without any."""
    rated = RatedUsage.objects.filter(billing_period=period)
    last: datetime | None = rated.aggregate(last=Max("service_at"))["last"]
    return last


def _inputs(row: BillingPeriod) -> tuple[int, int, datetime, datetime]:
    return row.customer_id, row.rate_card_id, row.start_at, row.full_end_at


def _refuse_overlap(customer: Customer, period: Period) -> None:
    overlapping = BillingPeriod.objects.filter(
        customer=customer, start_at__lt=period.end, end_at__gt=period.start
    ).first()
    if overlapping:
        raise Conflict(f"billing period {overlapping} of {customer} overlaps", code="overlap")


def _refuse_rated_hour(customer: Customer, period: Period) -> None:
    """Keep a rated window in its period: a later one may have begun within the last hour."""
    last_hour = hour_of(period.end)
    if last_hour == period.end:
        return
    rated = (
        RatedUsage.objects.filter(
            customer=customer, service_at=last_hour, billing_period__start_at__gte=period.end
        )
        .select_related("billing_period")
        .first()
    )
    if rated:
        raise Conflict(f"{rated.billing_period} of {customer} rated its first hour", code="overlap")
