"""What a plan's items claim at the end of a period, beside its overage: what a commit lacks.

The lines are worked out from what other lines of the term claim, so that a further invoice for the
same period claims only what is still missing.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import F, QuerySet, Sum
from django.db.models.expressions import Combinable

from billing_project.kernel.money import Money, prorate
from billing_project.kernel.period import Period
from credits.models import BillingPeriod
from invoicing.commits import Commit, is_last_of_term
from invoicing.items import Item
from invoicing.lines import Line
from invoicing.models import CreditNoteLine, InvoiceLine, LineKind, Subscription
from invoicing.selectors.advance import recurring_line
from invoicing.selectors.outcomes import outcome_lines
from invoicing.selectors.plans import (
    billing_periods_of,
    items_of,
    plan_version_of,
    subscription_of,
)
from metering.selectors.customers import closed_times, was_closed_at

# Periods that ended by an instant: those not closed whose plan claims something in arrears, and
# those with accepted outcomes on no line.
_DUE = """
SELECT b.id FROM billing_period b
  JOIN subscription s ON s.id::text = split_part(b.source_key, ':', 2)
 WHERE b.source_key LIKE 'subscription:%%' AND b.end_at <= %s
   AND EXISTS (SELECT FROM plan_item p WHERE p.plan_version_id = s.plan_version_id
                  AND (p.kind = 'commit' OR p.kind = 'recurring' AND p.timing = 'arrears'))
   AND NOT EXISTS (SELECT FROM invoiced_usage u WHERE u.source_key = 'billing_period:' || b.id)
UNION
SELECT o.billing_period_id FROM outcome o JOIN billing_period b ON b.id = o.billing_period_id
 WHERE o.state = 'accepted' AND b.end_at <= %s
   AND NOT EXISTS (SELECT FROM line_outcome u WHERE u.outcome_id = o.id)
"""


def periods_in_arrears(at: datetime) -> list[int]:
    """List the ids of ended, open periods whose plan may claim more than overage at their end."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [at, at])
        return [pk for (pk,) in cursor.fetchall()]


def arrears_lines(billing_period: BillingPeriod, claim: Line | None) -> list[Line]:
    """Return the lines that items claim at a period's end, as far as no line claims it yet.

    Args:
        claim: The overage line beside them, if there is one.

    Raises:
        NotFound: no subscription opened the period.
    """
    subscription = subscription_of(billing_period)
    currency = plan_version_of(billing_period).currency
    lines = [*_fees(subscription, billing_period), *outcome_lines(billing_period, currency)]
    beside = [*([claim] if claim else []), *lines]
    for item in items_of(plan_version_of(billing_period), "commit"):
        term = _term(item, subscription, billing_period, beside)
        if term is not None and (line := term.commit.line()):
            lines.append(replace(line, service=term.service))
    return lines


def _fees(subscription: Subscription, billing_period: BillingPeriod) -> list[Line]:
    """Return the fees in arrears that no line of the period claims; none of a closed customer."""
    version = plan_version_of(billing_period)
    fees = [item for item in items_of(version, "recurring") if item.timing == "arrears"]
    if not fees or was_closed_at(billing_period.start_at, closed_times(subscription.customer_id)):
        return []
    lines = [recurring_line(item, version.currency) for item in fees]
    claimed = InvoiceLine.objects.filter(billing_period=billing_period, kind=LineKind.RECURRING)
    keys = [key.split(":item:")[-1] for key in claimed.values_list("source_key", flat=True)]
    return [line for line in lines if line.key.removeprefix("item:") not in keys]


@dataclass(frozen=True)
class _Term:
    """A commit with the span that it is about."""

    commit: Commit
    service: Period
    claimed: QuerySet[InvoiceLine]  # Lines of its shortfall.


def shortfall_overclaimed(billing_period: BillingPeriod) -> tuple[int, list[InvoiceLine]]:
    """Return how much of its term's shortfall is claimed too much, and the lines that claim it.

    That is so where usage of the term was invoiced after its shortfall.
    """
    subscription = subscription_of(billing_period)
    for item in items_of(plan_version_of(billing_period), "commit"):
        term = _term(item, subscription, billing_period, [])
        if term is not None and term.commit.left_minor < 0:
            return -term.commit.left_minor, list(term.claimed.select_related("invoice"))
    return 0, []


def _term(
    item: Item, subscription: Subscription, billing_period: BillingPeriod, beside: list[Line]
) -> _Term | None:
    """Return the commit whose term ends with a period; None where it goes on."""
    periods = list(billing_periods_of(subscription))
    index = [period.pk for period in periods].index(billing_period.pk)
    is_over = subscription.ends_at == billing_period.end_at  # A term that ends early is owed whole.
    if not (is_over or is_last_of_term(index, item.periods)):
        return None
    term = periods[index - index % item.periods : index + 1]
    currency = subscription.plan_version.currency
    lines = InvoiceLine.objects.filter(billing_period__in=term)
    claimed = lines.filter(kind=LineKind.COMMIT_SHORTFALL, amount_minor__gt=0)
    commit = Commit(
        name=item.name,
        minimum=Money(_minimum(item, subscription, term), currency),
        counted_minor=_counted(item, term)
        + sum(line.amount_minor for line in beside if line.kind in item.kinds),
        claimed_minor=_sum(claimed, F("amount_minor") - F("credited_minor")),
    )
    return _Term(commit, Period(term[0].start_at, billing_period.end_at), claimed)


def _minimum(item: Item, subscription: Subscription, term: list[BillingPeriod]) -> int:
    """Return a term's minimum; periods that began while the customer was closed owe none."""
    times = closed_times(subscription.customer_id)
    closed = sum(was_closed_at(period.start_at, times) for period in term)
    owed = item.periods - closed
    return prorate(item.amount_minor, Decimal(owed), Decimal(item.periods))


def _counted(item: Item, term: list[BillingPeriod]) -> int:
    """Sum what lines of a term claim of the kinds that count, less what notes evened out."""
    lines = InvoiceLine.objects.filter(billing_period__in=term, kind__in=item.kinds)
    evened = CreditNoteLine.objects.filter(invoice_line__in=lines)
    return _sum(lines, F("amount_minor")) - _sum(evened, F("evened_minor"))


def _sum(rows: QuerySet[Any], what: Combinable) -> int:
    return rows.aggregate(sum=Sum(what))["sum"] or 0
