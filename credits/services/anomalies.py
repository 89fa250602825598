"""Look for anomalies, each raised once with somebody who looks after it; plan what will look odd.

What goes on is one anomaly: its end and figures follow. An hour is looked at once it is over and
its usage had time to come; looking again finds the same.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import ChainStep, StepFunction, StepOwner, User
from billing_project.kernel.money import settle
from billing_project.kernel.period import HOUR, Period, hour_of
from billing_project.kernel.quantity import plain
from billing_project.kernel.users import worker_user
from credits.anomalies import Finding, Pattern, examine, new_key
from credits.models import (
    Alert,
    AlertKind,
    Anomaly,
    Feedback,
    PlannedActivity,
    PricingUnit,
)
from credits.selectors.hourly import (
    Series,
    customers_in,
    first_uses,
    series_of,
    with_repeats,
)
from credits.services.alerting import raise_alerts
from metering.models import Customer

log = logging.getLogger(__name__)

LOOKED = timedelta(weeks=4)
_SETTLED = timedelta(minutes=10)  # So long after an hour its usage is awaited.
_GOES_ON = timedelta(hours=3)
_HOURS_BACK = 6  # So many are looked at each time.
_AT_ONCE = 200  # Customers whose hours are in memory together.
_FLOOR = Decimal(1)  # Credits; less disturbs nobody.
# What a credit beyond the included ones costs a customer at an instant; None where nothing does.
Price = Callable[[Customer, datetime], tuple[Decimal, str] | None]


def detect_anomalies(*, price_of: Price, at: datetime) -> int:
    """Look at the last full hours of every customer; return how many anomalies are new.

    Hours that were looked at before find the same; those that nobody looked at, because the worker
    stood still, are looked at now.
    """
    end = hour_of(at - _SETTLED)
    span = Period(end - LOOKED, end)
    customers, new = customers_in(span), 0
    for start in range(0, len(customers), _AT_ONCE):
        series = series_of(customers[start : start + _AT_ONCE], span)
        for one, finding in _findings(series, span):
            new += _raise(one.customer_id, one.unit, finding, price_of, at)
    return new


def _findings(series: list[Series], span: Period) -> Iterable[tuple[Series, Finding]]:
    by_customer = {one.customer_id: one for one in series}
    for one in series:
        for back in reversed(range(min(_HOURS_BACK, len(one.hours)))):  # The oldest first.
            until = replace(one, hours=one.hours[: len(one.hours) - back])
            finding = examine(until.hours, _FLOOR)
            if finding and finding.pattern == Pattern.SPIKE:
                finding = examine(with_repeats(until, 2).hours, _FLOOR)
            if finding:
                yield one, finding
    last = Period(span.end - _HOURS_BACK * HOUR, span.end)
    for use in first_uses(series, last):
        first = hour_of(use.first_at)
        key = new_key(f"key {use.api_key_id}", first, use.credits, False, _FLOOR)
        if key:
            yield by_customer[use.customer_id], key


@transaction.atomic
def _raise(
    customer_id: int, unit: PricingUnit, finding: Finding, price_of: Price, at: datetime
) -> bool:
    """Write a finding, or let the anomaly that goes on follow; nothing where it was planned."""
    customer = Customer.objects.select_for_update(no_key=True).get(pk=customer_id)
    end_at = finding.start + 2 * HOUR
    if PlannedActivity.objects.filter(
        customer=customer, start_at__lt=end_at, end_at__gt=finding.start
    ).exists():
        return False
    going = Anomaly.objects.filter(
        customer=customer, pattern=finding.pattern.value, end_at__gte=finding.start - _GOES_ON
    )
    # Who called it real did something about it: what comes after that is another one.
    last = going.exclude(feedback=Feedback.REAL, feedback_at__lte=finding.start).first()
    price = price_of(customer, finding.start)
    if last is not None:
        _follow(last, finding, end_at, price)
        return False
    anomaly = Anomaly(
        customer=customer, pattern=finding.pattern.value, pricing_unit=unit,
        start_at=finding.start, detected_at=at, owner=_owner(at),
        source_key=f"{customer.pk}:{finding.pattern}:{finding.start.isoformat()}",
    )  # fmt: skip
    _write(anomaly, finding, end_at, price)
    anomaly.save()
    log.warning("anomaly", extra={"customer": customer.pk, "pattern": finding.pattern.value})
    raise_alerts([_alert(anomaly, at)])
    return True


def _follow(
    anomaly: Anomaly, finding: Finding, end_at: datetime, price: tuple[Decimal, str] | None
) -> None:
    """Let an anomaly reach to the hours that were found; its worst figures stand."""
    if end_at <= anomaly.end_at:
        return
    if abs(finding.impact) > abs(anomaly.observed - anomaly.expected):
        _write(anomaly, finding, end_at, price)
    anomaly.end_at = end_at
    anomaly.save()


def _write(
    anomaly: Anomaly, finding: Finding, end_at: datetime, price: tuple[Decimal, str] | None
) -> None:
    anomaly.end_at, anomaly.observed, anomaly.expected = end_at, finding.observed, finding.expected
    anomaly.score = min(finding.score, Decimal(10) ** 9).quantize(Decimal("0.01"))
    anomaly.causes = [asdict(cause) for cause in finding.causes]
    if price is not None:
        unit_price, anomaly.currency = price
        anomaly.impact_minor = settle(finding.impact * unit_price, anomaly.currency)


def _alert(anomaly: Anomaly, at: datetime) -> Alert:
    causes = ", ".join(f"{one['dimension']} {one['value']}" for one in anomaly.causes)
    return Alert(
        customer=anomaly.customer, kind=AlertKind.ANOMALY, title=str(anomaly)[:200],
        facts={
            "pattern": anomaly.pattern, "observed": plain(anomaly.observed),
            "expected": plain(anomaly.expected.quantize(Decimal("0.01"))),
            "unit": anomaly.pricing_unit.code, "causes": causes,
        },
        raised_at=at, owner=anomaly.owner, source_key=f"anomaly:{anomaly.source_key}",
    )  # fmt: skip


def _owner(at: datetime) -> User:
    """Return who answers for rating, for product or else engineering; the worker if nobody does."""
    for function in (StepFunction.PRODUCT, StepFunction.ENGINEERING):
        rows = StepOwner.objects.filter(step=ChainStep.RATE, function=function, since_at__lte=at)
        row = rows.select_related("person").order_by("-id").first()
        if row is not None and row.person.is_active:
            return row.person
    return worker_user()


@transaction.atomic
def plan_activity(
    *, customer: Customer, start_at: datetime, end_at: datetime, reason: str, by: User, at: datetime
) -> PlannedActivity:
    """Say that use will look odd and is meant: no anomaly is raised of it.

    Raises:
        Invalid: it ends before it begins, lasts more than 92 days, or has no reason.
    """
    if end_at <= start_at or end_at - start_at > timedelta(days=92):
        raise Invalid("an activity lasts longer than nothing, and 92 days at most", field="end_at")
    if not reason.strip():
        raise Invalid("say what is planned", field="reason")
    row = PlannedActivity.objects.create(
        customer=customer, start_at=start_at, end_at=end_at, reason=reason, planned_by=by,
        planned_at=at,
    )  # fmt: skip
    audit.record(by=by, at=at, action="plan_activity", subject=row, reason=reason)
    return row


@transaction.atomic
def say_what_it_was(
    *, anomaly: Anomaly, feedback: str, note: str, by: User, at: datetime
) -> Anomaly:
    """Keep what an anomaly turned out to be; once.

    Raises:
        Invalid: no such answer, or no note. Conflict: somebody said it already.
    """
    if feedback not in Feedback.values or not feedback:
        raise Invalid("it is real, expected or a false alarm", field="feedback")
    if not note.strip():
        raise Invalid("say why", field="reason")
    locked = Anomaly.objects.select_for_update(no_key=True, of=("self",)).get(pk=anomaly.pk)
    if locked.feedback:
        raise Conflict(f"{locked.feedback_by} said that it is {locked.get_feedback_display()}")
    locked.feedback, locked.feedback_note = feedback, note
    locked.feedback_by, locked.feedback_at = by, at
    locked.save()
    audit.record(by=by, at=at, action="say_what_it_was", subject=locked, reason=note)
    return locked


@transaction.atomic
def hand_over(*, anomaly: Anomaly, owner: User, reason: str, by: User, at: datetime) -> Anomaly:
    """Let somebody else look after an anomaly.

    Raises:
        Invalid: not an active person, or no reason.
    """
    if not owner.is_active or owner.is_service:
        raise Invalid(f"{owner} is not an active person", field="owner")
    if not reason.strip():
        raise Invalid("say why", field="reason")
    locked = Anomaly.objects.select_for_update(no_key=True, of=("self",)).get(pk=anomaly.pk)
    locked.owner = owner
    locked.save(update_fields=["owner"])
    audit.record(
        by=by, at=at, action="hand_over_anomaly", subject=locked, reason=reason, owner=owner.pk
    )
    return locked
