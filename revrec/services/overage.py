"""Account for overage: earned on the day it was used, unbilled until an invoice claims it.

A billing period's postings follow from three figures alone, in whatever order they came to be:
4020 = what its usage is worth; 4900 = what notes conceded, up to that; 1200 = the rest of the
usage, less what its invoice lines still claim. A negative 1200 is an overcharge.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby

from django.db.models import Sum

from credits.models import BillingPeriod, RatedUsage
from invoicing.selectors import overage_price
from revrec.accrual import Accrual, DayUse, Price, accruals, borne
from revrec.by_model import used_by_model
from revrec.models import ObligationKind, PerformanceObligation
from revrec.posting import EntryKind, overage_used
from revrec.selectors.facts import model_of, unaccounted_overage
from revrec.selectors.obligations import conceded_on
from revrec.services.drafts import Run, about
from revrec.services.journal import EntryDraft, note_nothing_to_post, post_entries
from revrec.sources import Source, SourceType


def accrue_overage(run: Run) -> int:
    """Post Dr 1200 Cr 4020 for each service day with new overage; return the entries posted.

    What notes conceded before is taken off again as far as the usage now earns it: Dr 4900.
    """
    posted = 0
    rows = list(
        unaccounted_overage(run.customer_id, run.mark.through_usage)
        .select_related("billing_period")
        .annotate(model=model_of("window__dimensions"))
    )
    for billing_period, of_period in groupby(rows, key=lambda row: row.billing_period):
        posted += _accrue_period(run, billing_period, list(of_period))
    return posted


def overage_obligation(billing_period: BillingPeriod, currency: str) -> PerformanceObligation:
    """Return the promise that a period's overage belongs to; it is made on first use."""
    obligation, _ = PerformanceObligation.objects.get_or_create(
        source_key=f"billing_period:{billing_period.pk}:overage",
        defaults={
            "customer_id": billing_period.customer_id,
            "kind": ObligationKind.OVERAGE,
            "billing_period": billing_period,
            "currency": currency,
            "price_minor": 0,
        },
    )
    return obligation


def concede(billing_period: BillingPeriod, more_minor: int) -> int:
    """Return what a further concession takes off a period's revenue; it is not in the books yet."""
    used = price_of(billing_period).of(_credits_of(billing_period))
    before = conceded_on(billing_period)
    return borne(used, before + more_minor) - borne(used, before)


def price_of(billing_period: BillingPeriod) -> Price:
    """Return what a credit beyond the grants costs in a period."""
    return Price(*overage_price(billing_period))


def _accrue_period(run: Run, billing_period: BillingPeriod, rows: Sequence[RatedUsage]) -> int:
    price = price_of(billing_period)
    by_day = {
        day: list(group) for day, group in groupby(rows, key=lambda row: run.day_of(row.service_at))
    }
    days = [
        DayUse(day, used_by_model((vars(row)["model"], row.overage) for row in group))
        for day, group in by_day.items()
    ]
    new = sum((day.credits for day in days), Decimal(0))
    before = _credits_of(billing_period) - new
    steps = list(accruals(before, days, price, conceded_on(billing_period)))
    obligation = overage_obligation(billing_period, price.currency)
    _follow(obligation, sum(step.amount_minor - step.conceded_minor for step in steps))
    idle = [step.service_on for step in steps if not step.by_model]
    note_nothing_to_post(sources=_sources(row for day in idle for row in by_day[day]))
    drafts = [
        _draft(run, obligation, step, by_day[step.service_on]) for step in steps if step.by_model
    ]
    return len(post_entries(drafts=drafts, by=run.by, at=run.at))


def _credits_of(billing_period: BillingPeriod) -> Decimal:
    """Return all overage of a period, accounted for or not."""
    total = RatedUsage.objects.filter(billing_period=billing_period).aggregate(sum=Sum("overage"))
    return total["sum"] or Decimal(0)


def _follow(obligation: PerformanceObligation, change_minor: int) -> None:
    obligation.price_minor += change_minor
    obligation.recognised_minor += change_minor
    obligation.save(update_fields=["price_minor", "recognised_minor"])


def _draft(
    run: Run, obligation: PerformanceObligation, step: Accrual, rows: Sequence[RatedUsage]
) -> EntryDraft:
    return EntryDraft(
        wanted_on=step.service_on,
        kind=EntryKind.OVERAGE_USED,
        description=f"Overage used on {step.service_on}",
        customer_id=run.customer_id,
        lines=overage_used(
            step.amount_minor,
            about(obligation, step.service_on),
            step.conceded_minor,
            step.by_model,
        ),
        source_key=_key(obligation, step.service_on, rows),
        sources=_sources(rows),
    )


def _key(obligation: PerformanceObligation, service_on: date, rows: Sequence[RatedUsage]) -> str:
    """Name the state reached: the day's overage through its last rated usage."""
    return f"{obligation.source_key}:{service_on}:through:{max(row.pk for row in rows)}"


def _sources(rows: Iterator[RatedUsage] | Sequence[RatedUsage]) -> tuple[Source, ...]:
    return tuple(Source(SourceType.RATED_USAGE, row.pk) for row in rows)
