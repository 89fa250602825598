"""Plans of fees, and where each kind of promise is owed."""

from collections.abc import Iterable
from datetime import date, datetime

from django.db.models import Max

from billing_project.kernel.period import DAY
from revrec.models import (
    Granularity,
    ObligationKind,
    PerformanceObligation,
    RevenueSchedule,
    RevenueScheduleLine,
)
from revrec.posting import Account
from revrec.schedule import ScheduleDay, respread, start_of, straight_line
from revrec.selectors.obligations import earned_days, newest_schedule
from revrec.services.drafts import Run

LIABILITIES = {
    ObligationKind.FEE: Account.FEES_LIABILITY,
    ObligationKind.ARREARS: Account.UNBILLED,
    ObligationKind.CREDITS: Account.CREDITS_LIABILITY,
    ObligationKind.COMMITMENT: Account.CREDITS_LIABILITY,
}


RATABLE = (ObligationKind.FEE, ObligationKind.ARREARS)


def revise_schedule(
    run: Run, obligation: PerformanceObligation, ends_at: datetime | None = None
) -> None:
    """Plan what is left of the fee over the service days that are left of it.

    Args:
        ends_at: Where the note ended the service: no day after it earns anything.
    """
    old = newest_schedule(obligation)
    left = obligation.price_minor - obligation.recognised_minor
    next_on = old.start_on + DAY * earned_days(obligation)
    end_on = old.end_on
    if ends_at is not None:
        served = run.service_days(start_of(old.start_on, run.zone), ends_at)[1]
        end_on = min(end_on, max(served, next_on + DAY if left else next_on))
    days = list(straight_line(left, next_on, end_on))
    if old.pattern == Granularity.MONTH:
        rest = old.lines.filter(service_on__gte=next_on, service_on__lt=end_on)
        planned = [
            ScheduleDay(line.service_on, line.amount_minor) for line in rest.order_by("service_on")
        ]
        days = list(respread(left, planned)) or days
    plan_days(run, obligation, old.start_on, end_on, days, old.pattern)


def plan_days(
    run: Run, obligation: PerformanceObligation, start_on: date, end_on: date,
    days: Iterable[ScheduleDay], pattern: str = Granularity.DAY.value,
) -> None:  # fmt: skip
    """Write the next revision of a fee's plan: from now on only its days earn anything."""
    last = obligation.schedules.aggregate(last=Max("revision"))["last"] or 0
    schedule = RevenueSchedule.objects.create(
        obligation=obligation,
        revision=last + 1,
        price_minor=obligation.price_minor,
        start_on=start_on,
        end_on=end_on,
        pattern=pattern,
        created_at=run.at,
    )
    RevenueScheduleLine.objects.bulk_create(
        RevenueScheduleLine(
            schedule=schedule, service_on=day.service_on, amount_minor=day.amount_minor
        )
        for day in days
    )
