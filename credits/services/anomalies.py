"""Look for anomalies, each raised once with somebody who looks after it; plan what will look odd.

What goes on is one anomaly: its end and figures follow. An hour is looked at once it is over and
its usage had time to come; looking again finds the same.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256

from django.db import transaction
from django.db.models import Q

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import ChainStep, StepFunction, StepOwner, User
from billing_project.kernel.money import settle
from billing_project.kernel.period import HOUR, Period, hour_of
from billing_project.kernel.quantity import plain
from billing_project.kernel.users import worker_user
from credits.anomalies import WHOLE, Finding, HourUse, Key, Pattern, new_key
from credits.anomaly_series import examine_all, is_same_cause
from credits.models import (
    Alert,
    AlertKind,
    Anomaly,
    Feedback,
    PlannedActivity,
    PricingUnit,
    SpendMark,
)
from credits.selectors.hourly import (
    LOOKED,
    billed_in,
    customers_in,
    first_uses,
    series_of,
    with_repeats,
    worth_a_look,
)
from credits.services.alerting import raise_alerts
from credits.services.keeping_hours import follow_hours, last_looked, mark_looked
from metering.models import Customer

log = logging.getLogger(__name__)

_SETTLED = timedelta(minutes=10)  # So long after an hour its usage is awaited.
_GOES_ON = timedelta(hours=3)
_HOURS_BACK = 6  # Late usage in these is looked at again.
_AT_ONCE = 200  # Customers whose hours are in memory together.
_FLOOR = Decimal(1)  # Credits; less disturbs nobody.
# What a credit of a unit, beyond the included ones, costs a customer at an instant; None where
# nothing does.
Price = Callable[[Customer, str, datetime], tuple[Decimal, str] | None]


def detect_anomalies(*, price_of: Price, at: datetime) -> int:
    """Look at every customer's full hours since the last run; return how many anomalies are new.

    Hours of the last six that usage was added to are looked at again, and find the same. Nobody's
    hour is passed over because the worker stood still.
    """
    end = hour_of(at - _SETTLED)
    customers, new = customers_in(Period(end - LOOKED, end)), 0
    begun = last_looked() or end - _HOURS_BACK * HOUR  # Who is new since the last run began then.
    for start in range(0, len(customers), _AT_ONCE):
        marks, changed = follow_hours(customers[start : start + _AT_ONCE], end, begun)
        looks = _looks(marks, changed, end)
        for customer_id, finding in _findings(looks, end):
            new += _raise(customer_id, marks[customer_id].pricing_unit, finding, price_of, at)
        mark_looked(list(marks), end)
    return new


def _looks(
    marks: Mapping[int, SpendMark], changed: Mapping[int, set[datetime]], end: datetime
) -> dict[int, list[datetime]]:
    """Choose hours to look at: new ones, and late ones of the last six; where a period was."""
    since = min((mark.looked_until for mark in marks.values()), default=end)
    billed = billed_in(marks, Period(min(since, end - _HOURS_BACK * HOUR) - HOUR, end + HOUR))
    found = {}
    for customer_id, mark in marks.items():
        late = {at + n * HOUR for at in changed[customer_id] for n in range(2)}
        new = {mark.looked_until + n * HOUR for n in range((end - mark.looked_until) // HOUR)}
        hours = new | {at for at in late if end - _HOURS_BACK * HOUR <= at < end}
        found[customer_id] = sorted(
            at for at in hours if any(at in period for period in billed.get(customer_id, ()))
        )
    return {customer_id: hours for customer_id, hours in found.items() if hours}


def _findings(
    looks: Mapping[int, Sequence[datetime]], end: datetime
) -> Iterator[tuple[int, Finding]]:
    for customer_id, hours in worth_a_look(looks, _FLOOR).items():
        series = series_of(customer_id, Period(hours[0] + HOUR - LOOKED, hours[-1] + HOUR))
        for at in hours:  # The oldest first.
            for finding in _examined(customer_id, series, hours[-1] - at):
                yield customer_id, finding
    span = Period(min((hours[0] for hours in looks.values()), default=end - HOUR), end)
    for use in first_uses(looks, span):
        key = new_key(f"{use.api_key_id}", use.first_at, use.credits, False, _FLOOR)
        if key:
            yield use.customer_id, key


def _examined(
    customer_id: int, series: Mapping[Key, list[HourUse]], back: timedelta
) -> list[Finding]:
    """Examine series without their last hours; a spike once more for calls that repeat."""
    count = back // HOUR
    until = {key: hours[: len(hours) - count][-LOOKED // HOUR :] for key, hours in series.items()}
    found = examine_all(until, _FLOOR)
    if any(one.pattern == Pattern.SPIKE for one in found):
        return examine_all({**until, WHOLE: with_repeats(customer_id, until[WHOLE])}, _FLOOR)
    return found


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
    price = price_of(customer, unit.code, finding.start)
    if (last := _going(customer, finding)) is not None:
        _follow(last, finding, end_at, price)
        return False
    dimension, value = finding.series
    anomaly = Anomaly(
        customer=customer, pattern=finding.pattern.value, pricing_unit=unit,
        dimension=dimension, value=value, start_at=finding.start, end_at=end_at,
        detected_at=at, owner=_owner(at), source_key=_source_key(customer, finding),
    )  # fmt: skip
    _write(anomaly, finding, price)
    anomaly.save()
    log.warning("anomaly", extra={"customer": customer.pk, "pattern": finding.pattern.value})
    raise_alerts([_alert(anomaly, at)])
    return True


def _going(customer: Customer, finding: Finding) -> Anomaly | None:
    """Return the anomaly of the same cause that goes on: silence, or whatever costs more.

    Who called it real did something about it: what comes after that is another one.
    """
    is_silent = Q(pattern=Pattern.SILENCE.value)
    rows = Anomaly.objects.filter(
        is_silent if finding.pattern == Pattern.SILENCE else ~is_silent,
        customer=customer, end_at__gte=finding.start - _GOES_ON,
        start_at__lt=finding.start + _GOES_ON,
    ).exclude(feedback=Feedback.REAL, feedback_at__lte=finding.start)  # fmt: skip
    for one in rows:
        causes = {(c["dimension"], c["value"]): c["percent"] for c in one.causes}
        if is_same_cause((one.dimension, one.value), causes, finding):
            return one
    return None


def _source_key(customer: Customer, finding: Finding) -> str:
    """Name a finding; a part by a hash of its name, which may be long."""
    key = f"{customer.pk}:{finding.pattern}:{finding.start.isoformat()}"
    if finding.series == WHOLE:
        return key
    return f"{key}:{sha256(':'.join(finding.series).encode()).hexdigest()[:16]}"


def _follow(
    anomaly: Anomaly, finding: Finding, end_at: datetime, price: tuple[Decimal, str] | None
) -> None:
    """Let an anomaly reach to the hours that were found; its worst figures stand.

    Late usage may make hours worse that it reaches to already.
    """
    is_worse = abs(finding.impact) > abs(anomaly.observed - anomaly.expected)
    if not is_worse and end_at <= anomaly.end_at:
        return
    if is_worse:
        _write(anomaly, finding, price)
    anomaly.end_at = max(anomaly.end_at, end_at)
    anomaly.save()


def _write(anomaly: Anomaly, finding: Finding, price: tuple[Decimal, str] | None) -> None:
    anomaly.observed, anomaly.expected = finding.observed, finding.expected
    anomaly.score = min(finding.score, Decimal(10) ** 9).quantize(Decimal("0.01"))
    anomaly.causes = [asdict(cause) for cause in finding.causes]
    anomaly.impact_minor, anomaly.currency = None, ""
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
