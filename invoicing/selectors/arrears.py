"""What a plan's items claim at the end of a period, beside its overage: what a commit lacks.

The lines are worked out from what other lines of the term claim, so that a further invoice for the
same period claims only what is still missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.db import connection
from django.db.models import BigIntegerField, Case, CharField, F, Q, QuerySet, Sum, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Concat, Round

from billing_project.kernel.money import Money, prorate
from billing_project.kernel.period import Period
from credits.models import BillingPeriod
from invoicing.commits import Commit, is_last_of_term
from invoicing.discounts import discounted
from invoicing.items import Item
from invoicing.lines import Line
from invoicing.models import CreditNoteLine, InvoiceLine, InvoiceStatus, LineKind, Subscription
from invoicing.phases import Standing
from invoicing.proration import Part, part_of
from invoicing.selectors.advance import recurring_line
from invoicing.selectors.changes import SEAT_NOTES, opening_of, plan_began_at
from invoicing.selectors.entities import entity_id_of
from invoicing.selectors.markets import known_tax
from invoicing.selectors.offers import offers_for
from invoicing.selectors.outcomes import outcome_lines
from invoicing.selectors.plans import (
    billing_periods_of,
    items_of,
    plan_version_at,
    plan_version_of,
    subscription_of,
)
from invoicing.tax import NO_RATE, NO_TAX, net_before, taxed
from metering.models import InvoicedUsage
from metering.selectors.customers import closed_times, was_closed_at

# What discounts took off lines, without the tax that their prices have in them.
_NET_DISCOUNT = Case(
    When(
        is_tax_inclusive=True,
        then=Cast(Round(F("discount_minor") / (1 + F("tax_rate"))), BigIntegerField()),
    ),
    default=F("discount_minor"),
)
# Items of a period's plan.
_ITEMS = """
SELECT FROM plan_item p WHERE p.plan_version_id = coalesce(
       (SELECT c.plan_version_id FROM subscription_change c
         WHERE c.subscription_id = s.id AND c.kind = 'plan' AND c.undone_at IS NULL
           AND c.effective_at <= b.start_at ORDER BY c.effective_at DESC LIMIT 1),
       s.plan_version_id)
"""
# Periods that ended by an instant: those not closed whose plan claims something in arrears, those
# with accepted outcomes on no line, and those of a void invoice that no other claims again.
_DUE = """
SELECT b.id FROM billing_period b
  JOIN subscription s ON s.id::text = split_part(b.source_key, ':', 2)
 WHERE b.source_key LIKE 'subscription:%%' AND b.end_at <= %(at)s
   AND EXISTS (ITEMS AND (p.kind = 'commit' OR p.kind = 'recurring' AND p.timing = 'arrears'))
   AND NOT EXISTS (SELECT FROM invoiced_usage u WHERE u.source_key = 'billing_period:' || b.id)
UNION
SELECT o.billing_period_id FROM outcome o JOIN billing_period b ON b.id = o.billing_period_id
 WHERE o.state = 'accepted' AND b.end_at <= %(at)s
   AND NOT EXISTS (SELECT FROM line_outcome u WHERE u.outcome_id = o.id AND NOT u.is_void)
UNION
SELECT b.id FROM invoice i JOIN billing_period b ON b.id::text = split_part(i.source_key, ':', 2)
 WHERE i.status = 'void' AND i.source_key LIKE 'billing\\_period:%%:overage%%'
   AND b.end_at <= %(at)s
   AND NOT EXISTS (SELECT FROM invoice r WHERE r.replaces_id = i.id)
""".replace("ITEMS", _ITEMS)
# Ended periods with a commit and a line that a note, or the void of its invoice, changed lately.
_CHANGED = """
WITH changed AS (
    SELECT c.invoice_line_id AS id
      FROM credit_note_line c JOIN credit_note n ON n.id = c.credit_note_id
     WHERE n.issued_at >= %(since)s
    UNION
    SELECT l.id FROM invoice_void v JOIN invoice_line l ON l.invoice_id = v.invoice_id
     WHERE v.voided_at >= %(since)s)
SELECT DISTINCT b.id FROM changed
  JOIN invoice_line l ON l.id = changed.id
  JOIN billing_period b ON b.id = l.billing_period_id AND b.source_key LIKE 'subscription:%%'
  JOIN subscription s ON s.id::text = split_part(b.source_key, ':', 2)
 WHERE b.end_at <= %(at)s AND EXISTS (ITEMS AND p.kind = 'commit')
""".replace("ITEMS", _ITEMS)
_LOOKED_BACK = timedelta(days=62)  # Many runs looked at what is older; the books look at all.


def periods_in_arrears(at: datetime) -> list[int]:
    """List the ids of ended periods that may claim more than overage.

    Closed ones among them: terms that lack something again of what was trued up, because notes
    took it off or an invoice is void.
    """
    short = {
        last.pk
        for period in changed_periods(at, at - _LOOKED_BACK)
        if (found := closed_term(period)) is not None
        for last, term in [found]
        if term.commit.left_minor > 0
    }
    return [*_ids(_DUE, {"at": at}), *short]


def changed_periods(at: datetime, since: datetime) -> QuerySet[BillingPeriod]:
    """List ended periods of commits with a line that a note or a void changed since an instant."""
    ids = _ids(_CHANGED, {"at": at, "since": since})
    return BillingPeriod.objects.filter(pk__in=ids).select_related("customer").order_by("pk")


def _ids(sql: str, params: dict[str, datetime]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return [pk for (pk,) in cursor.fetchall()]


def arrears_lines(billing_period: BillingPeriod, claim: Line | None) -> list[Line]:
    """Return the lines that items claim at a period's end, as far as no line claims it yet.

    Args:
        claim: The overage line beside them, if there is one.

    Raises:
        NotFound: no subscription opened the period.
    """
    version = plan_version_of(billing_period)
    items = items_of(version)
    if not items:
        return []
    subscription = subscription_of(billing_period)
    lines = [
        *_fees(subscription, billing_period, items),
        *outcome_lines(billing_period, version.currency),
    ]
    beside = [*([claim] if claim else []), *lines]
    for item in (one for one in items if one.kind == "commit"):
        term = _term(item, subscription, billing_period, beside)
        if term is not None and (line := term.commit.line()):
            lines.append(replace(line, service=term.service))
    return lines


def _fees(
    subscription: Subscription, billing_period: BillingPeriod, items: Sequence[Item]
) -> list[Line]:
    """Return the fees in arrears that no line of the period claims, for the days that it served.

    None of a closed customer, and none while the subscription is paused or in trial.
    """
    version = plan_version_of(billing_period)
    fees = [item for item in items if (item.kind, item.timing) == ("recurring", "arrears")]
    if not fees or not (part := _paid_part(subscription, billing_period)):
        return []
    lines = [recurring_line(item, version.currency, part) for item in fees]
    claimed = _standing([billing_period]).filter(kind=LineKind.RECURRING)
    keys = [key.split(":item:")[-1] for key in claimed.values_list("source_key", flat=True)]
    new = [line for line in lines if line.key.removeprefix("item:") not in keys]
    opening = opening_of(billing_period)
    offers = offers_for(subscription, version, opening, only_shares=True)
    return discounted(new, offers, version.currency)


def _paid_part(subscription: Subscription, billing_period: BillingPeriod) -> Part | None:
    """Return which part of its interval a period served, if it was active and its customer open."""
    opening = opening_of(billing_period)
    if opening.phase.standing != Standing.ACTIVE:
        return None
    if was_closed_at(billing_period.start_at, closed_times(subscription.customer_id)):
        return None
    served = Period(opening.period.start, billing_period.end_at)
    return part_of(opening.interval, served, subscription.customer.time_zone)


@dataclass(frozen=True)
class Term:
    """A commit with the span that it is about."""

    commit: Commit
    service: Period
    claimed: QuerySet[InvoiceLine]  # Lines of its shortfall.


def shortfall_overclaimed(billing_period: BillingPeriod) -> tuple[int, list[InvoiceLine]]:
    """Return how much of the shortfall of a period's term is claimed too much, and by which lines.

    That is so where usage of any of its periods was invoiced after the shortfall.
    """
    found = closed_term(billing_period)
    if found is None or found[1].commit.left_minor >= 0:
        return 0, []
    term = found[1]
    return -term.commit.left_minor, list(term.claimed.select_related("invoice"))


def closed_term(billing_period: BillingPeriod) -> tuple[BillingPeriod, Term] | None:
    """Return the last period of the term that a period is a part of, and the term.

    None where the plan has no commit, and until the last period is closed.
    """
    subscription = subscription_of(billing_period)
    for item in items_of(plan_version_of(billing_period), "commit"):  # One at most.
        for last in billing_periods_of(subscription).filter(start_at__gte=billing_period.start_at):
            term = _term(item, subscription, last, [])
            if term is not None:
                key = f"billing_period:{last.pk}"
                is_closed = InvoicedUsage.objects.filter(source_key=key).exists()
                return (last, term) if is_closed else None
    return None


def _term(
    item: Item, subscription: Subscription, billing_period: BillingPeriod, beside: list[Line]
) -> Term | None:
    """Return the commit whose term ends with a period; None where it goes on.

    Terms are counted in intervals from the plan's first period on. One ends early with its
    subscription, and is then owed whole; or with its plan, and is then owed by the day.
    """
    intervals = intervals_of(subscription, billing_period)
    index = len(intervals) - 1
    is_last_piece = opening_of(billing_period).interval.end <= billing_period.end_at
    is_over = subscription.ends_at == billing_period.end_at
    if not (is_over or _ends_plan(subscription, billing_period)) and not (
        is_last_piece and is_last_of_term(index, item.periods)
    ):
        return None
    term = intervals[index - index % item.periods :]
    periods = [period for interval in term for period in interval]
    owed = _owed(subscription, periods)
    if is_over:
        owed += item.periods - len(term) + _rest(subscription, billing_period)
    lines = _standing(periods)
    claimed = lines.filter(kind=LineKind.COMMIT_SHORTFALL, amount_minor__gt=0)
    commit = Commit(
        name=item.name,
        minimum=_minimum(item, owed, plan_version_of(billing_period).currency),
        counted_minor=_counted(item, periods) + _counting(item, billing_period, beside),
        claimed_minor=_sum(claimed, F("amount_minor")) - _made_up(claimed),
    )
    return Term(commit, Period(periods[0].start_at, billing_period.end_at), claimed)


def intervals_of(subscription: Subscription, last: BillingPeriod) -> list[list[BillingPeriod]]:
    """Group the periods of a plan, through a last one, by the interval that they are parts of."""
    began = plan_began_at(subscription, last.start_at)
    periods = billing_periods_of(subscription).filter(
        start_at__gte=began, start_at__lte=last.start_at
    )
    grouped: list[list[BillingPeriod]] = []
    for period in periods:
        if grouped and grouped[-1][-1].uncut_end_at is not None and _is_same_interval(period):
            grouped[-1].append(period)
        else:
            grouped.append([period])
    return grouped


def _is_same_interval(period: BillingPeriod) -> bool:
    """Tell whether a period that follows a cut one goes on with its interval."""
    return opening_of(period).interval.start < period.start_at


def _ends_plan(subscription: Subscription, billing_period: BillingPeriod) -> bool:
    """Tell whether another plan holds from a period's end on."""
    after = plan_version_at(subscription, billing_period.end_at)
    return after != plan_version_of(billing_period)


def _owed(subscription: Subscription, periods: Sequence[BillingPeriod]) -> Fraction:
    """Return of how many intervals a minimum is owed: by the day, none where no fee is due."""
    parts = [_paid_part(subscription, period) for period in periods]
    return sum((Fraction(part.days, part.of_days) for part in parts if part), Fraction(0))


def _rest(subscription: Subscription, billing_period: BillingPeriod) -> Fraction:
    """Return the part of its interval that a cut period does not serve."""
    opening = opening_of(billing_period)
    if billing_period.end_at >= opening.interval.end:
        return Fraction(0)
    rest = Period(billing_period.end_at, opening.interval.end)
    part = part_of(opening.interval, rest, subscription.customer.time_zone)
    return Fraction(part.days, part.of_days)


def _minimum(item: Item, owed: Fraction, currency: str) -> Money:
    """Return the minimum of so many intervals of a term."""
    done, whole = Decimal(owed.numerator), Decimal(owed.denominator * item.periods)
    return Money(prorate(item.amount_minor, done, whole), currency)


def _counting(item: Item, billing_period: BillingPeriod, lines: Sequence[Line]) -> int:
    """Sum what new lines count towards a commit: before discounts and without tax."""
    customer, at = billing_period.customer, billing_period.end_at
    currency = plan_version_of(billing_period).currency
    tax = known_tax(customer, currency, at, entity_id_of(customer)) if lines else NO_TAX
    return sum(
        net_before(line.kind.value, line.amount_minor, line.discount_minor, tax)
        for line in lines
        if line.kind in item.kinds
    )


def _counted(item: Item, term: list[BillingPeriod]) -> int:
    """Sum what lines of a term claim of the kinds that count, before discounts, without tax.

    What notes evened out of overage does not count, nor what they gave back of a service that ended
    before it was delivered. Concessions lower no count.
    """
    lines = _standing(term).filter(kind__in=item.kinds)
    claimed = _sum(lines, F("amount_minor") + _NET_DISCOUNT)
    notes = _notes_on(lines)
    return claimed - _sum(notes, F("evened_minor")) - _not_delivered(notes)


def _not_delivered(notes: QuerySet[CreditNoteLine]) -> int:
    """Sum what notes on seats and fees gave back for days after a change, before discounts."""
    by_changes = Q(credit_note__source_key__startswith=SEAT_NOTES) | Q(
        credit_note__source_key__startswith=Concat(
            Value("billing_period:"),
            Cast("invoice_line__billing_period", CharField()),
            Value(":unused:"),
        )
    )
    found = notes.filter(by_changes).select_related("invoice_line")
    return sum(_before_discounts(note.amount_minor, note.invoice_line) for note in found)


def _before_discounts(minor: int, line: InvoiceLine) -> int:
    """Return what a part of a line's amount was before discounts, without tax."""
    rate = line.tax_rate if line.is_tax_inclusive else NO_RATE
    off = taxed(line.discount_minor, rate, is_inclusive=True).net_minor
    return prorate(minor, Decimal(line.amount_minor + off), Decimal(line.amount_minor))


def _made_up(claimed: QuerySet[InvoiceLine]) -> int:
    """Sum what notes gave back of a shortfall because usage made up for it.

    All other notes on it are concessions: what they took off is not claimed again.
    """
    of_usage = Concat(Value("invoice_line:"), Cast("invoice_line", CharField()), Value(":made_up:"))
    notes = _notes_on(claimed).filter(credit_note__source_key__startswith=of_usage)
    return _sum(notes, F("amount_minor"))


def _notes_on(lines: QuerySet[InvoiceLine]) -> QuerySet[CreditNoteLine]:
    return CreditNoteLine.objects.filter(invoice_line__in=lines, credit_note__void=None)


def _standing(term: list[BillingPeriod]) -> QuerySet[InvoiceLine]:
    """List a term's lines, of drafts too; a void invoice claims nothing."""
    lines = InvoiceLine.objects.filter(billing_period__in=term)
    return lines.exclude(invoice__status=InvoiceStatus.VOID)


def _sum(rows: QuerySet[Any], what: Combinable) -> int:
    return rows.aggregate(sum=Sum(what))["sum"] or 0
