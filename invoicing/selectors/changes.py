"""What holds for a subscription by its changes, what comes next, and what is left unused."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import QuerySet

from billing_project.kernel.money import Money
from billing_project.kernel.period import Period
from credits.models import BillingPeriod, CreditGrant, GrantCategory
from invoicing.models import (
    Anchor,
    CreditNote,
    Invoice,
    InvoiceLine,
    LineKind,
    PlanVersion,
    Subscription,
    SubscriptionChange,
)
from invoicing.periods import Unit
from invoicing.phases import Kind, Opening, Phase, Standing, Step, Terms, openings, phase_at
from invoicing.proration import Part, part_of
from invoicing.selectors.plans import billing_periods_of, subscription_of
from metering.models import Customer

PLAN_INCLUDED = "plan_included"  # The reason code of credits that come with a period.
SEAT_NOTES = "seat_change:"  # What the keys of notes for fewer seats begin with.
_INSTANT = timedelta(microseconds=1)
# Lines that claim a service ahead of it; what is not delivered of it may be given back.
_IN_ADVANCE = (LineKind.RECURRING,)


@dataclass(frozen=True)
class Unused:
    """What was claimed ahead for days that are not served any more."""

    line: InvoiceLine
    part: Part
    left: Money  # The line's amount, less what notes took off it before.

    @property
    def amount(self) -> Money:
        """The share of what is left of the line: unused days of its days."""
        return self.part.amount(self.left)

    @property
    def arithmetic(self) -> str:
        """How the amount comes about: "Growth: 18 of 30 days x 90.00"."""
        name = self.line.description.partition(",")[0].partition(";")[0]
        return f"{name}: {self.part.arithmetic(self.left)}"

    @property
    def used_arithmetic(self) -> str:
        """How the rest of it comes about, which was used: "12 of 30 days x 90.00"."""
        used = Part(0, self.part.of_days - self.part.days, self.part.of_days)
        return used.arithmetic(self.left)


def terms_of(version: PlanVersion) -> Terms:
    """Return a plan version as far as it decides about time."""
    is_calendar = version.anchor == Anchor.CALENDAR
    return Terms(version.pk, Unit(version.interval_unit), version.interval_count, is_calendar)


def standing_changes(subscription: Subscription) -> QuerySet[SubscriptionChange]:
    """List the changes that were made and not undone, by the time that they take effect."""
    changes = SubscriptionChange.objects.filter(subscription=subscription, undone_at=None)
    return changes.select_related("plan_version__plan").order_by("effective_at", "pk")


def step_of(change: SubscriptionChange) -> Step:
    """Return a change as the rules know it."""
    terms = terms_of(change.plan_version) if change.plan_version else None
    return Step(change.effective_at, Kind(change.kind), terms)


def steps_of(subscription: Subscription) -> list[Step]:
    """Return the changes of plan and standing as the rules fold them.

    The end is not among them: the subscription itself keeps it.
    """
    changes = standing_changes(subscription).exclude(kind=Kind.CANCEL)
    return [step_of(change) for change in changes]


def phase_of(subscription: Subscription, at: datetime) -> Phase:
    """Return the plan and standing that a subscription has at an instant."""
    first = terms_of(subscription.plan_version)
    return phase_at(subscription.start_at, first, steps_of(subscription), at)


def coming(
    subscription: Subscription,
    last: BillingPeriod | None,
    steps: Sequence[Step],
    ends_at: datetime | None,
) -> Iterator[Opening]:
    """Yield the periods after the last one that was opened, or from the start on."""
    yield from openings(
        subscription.start_at,
        terms_of(subscription.plan_version),
        steps,
        begins=last.end_at if last else subscription.start_at,
        is_cut=last is not None and last.uncut_end_at is not None,
        ends_at=ends_at,
        zone=subscription.customer.time_zone,
    )


def last_period(subscription: Subscription) -> BillingPeriod | None:
    """Return the newest period that a subscription opened."""
    return billing_periods_of(subscription).last()


def begins_paying(subscription: Subscription, at: datetime) -> bool:
    """Tell whether an instant is the subscription's start, or the end of its trial."""
    if at == subscription.start_at:
        return True
    return phase_of(subscription, at - _INSTANT).standing == Standing.TRIAL


def plan_began_at(subscription: Subscription, at: datetime) -> datetime:
    """Return since when a subscription has the plan that it has at an instant."""
    changes = standing_changes(subscription).filter(kind=Kind.PLAN, effective_at__lte=at)
    last = changes.last()
    return last.effective_at if last else subscription.start_at


def opening_of(billing_period: BillingPeriod) -> Opening:
    """Return what holds in a period that a subscription opened, and the interval it is part of."""
    subscription = subscription_of(billing_period)
    before = billing_periods_of(subscription).filter(start_at__lt=billing_period.start_at).last()
    opened = next(coming(subscription, before, steps_of(subscription), None))
    low, high = opened.interval.start, opened.interval.end  # Zones' rules may have changed since.
    whole = Period(low, max(high, billing_period.full_end_at))
    return replace(opened, period=Period(opened.period.start, whole.end), interval=whole)


def included_credits(
    customer: Customer, version: PlanVersion, opened: Opening, span: Period
) -> Decimal:
    """Return the credits that come with a span of a period, in addition to what is there.

    Credits are given by the day, as fees are charged. What earlier grants of included credits give
    for the same days counts towards it and is left alone, so that no order of changes gives a
    day's credits twice, and none takes any away.
    """
    zone = customer.time_zone
    due = part_of(opened.interval, span, zone).credits(version.included_credits)
    grants = CreditGrant.objects.filter(
        customer=customer,
        category=GrantCategory.INCLUDED,
        reason_code=PLAN_INCLUDED,
        pricing_unit=version.rate_card.pricing_unit_id,
        origin=None,
        effective_at__lt=span.start,
        expires_at__gt=span.start,
    )
    given = sum((_share(grant, span, zone) for grant in grants), Decimal(0))
    return max(due - given, Decimal(0))


def included_key(billing_period: BillingPeriod) -> str:
    """Name the grant of the credits that come with a period."""
    return f"billing_period:{billing_period.pk}:included"


def granted_with(billing_periods: Iterable[BillingPeriod]) -> Decimal:
    """Sum the included credits that were granted with periods."""
    keys = [included_key(period) for period in billing_periods]
    amounts = CreditGrant.objects.filter(source_key__in=keys).values_list("amount", flat=True)
    return sum(amounts, Decimal(0))


def unused_of(billing_period: BillingPeriod, at: datetime) -> list[Unused]:
    """List what lines claimed ahead for a period's days from an instant on, by line."""
    lines = InvoiceLine.objects.filter(
        billing_period=billing_period, kind__in=_IN_ADVANCE, service_end_at__gt=at
    ).select_related("invoice", "billing_period__customer")
    found = [_unused(line, at) for line in lines.order_by("invoice_id", "position")]
    return [unused for unused in found if unused is not None and unused.amount.amount_minor]


def unused_key(billing_period: BillingPeriod, invoice: Invoice) -> str:
    """Name the note that gives back what a cut period leaves unused of an invoice."""
    return f"{unused_prefix(billing_period)}{invoice.pk}"


def unused_prefix(billing_period: BillingPeriod) -> str:
    """Name all notes that give back what a cut period leaves unused."""
    return f"billing_period:{billing_period.pk}:unused:"


def served_until(note: CreditNote, line: InvoiceLine) -> datetime | None:
    """Return where a note ends the service of a line; None: it only lowers the price."""
    period = line.billing_period
    if period is None or not note.source_key.startswith(unused_prefix(period)):
        return None
    return period.end_at


def _unused(line: InvoiceLine, at: datetime) -> Unused | None:
    span = Period(line.service_start_at, line.service_end_at)
    zone = line.invoice.customer.time_zone
    part = _part(span, Period(max(at, span.start), span.end), zone)
    left = Money(line.amount_minor - line.credited_minor, line.invoice.currency)
    return Unused(line, part, left) if part and left.amount_minor > 0 else None


def _share(grant: CreditGrant, span: Period, zone: str) -> Decimal:
    """Return the part of a grant that is for the days of a span which begins in its life."""
    assert grant.expires_at is not None, "credits that come with a period end"
    life = Period(grant.effective_at, grant.expires_at)
    part = _part(life, Period(span.start, min(span.end, life.end)), zone)
    return part.credits(grant.amount) if part else Decimal(0)


def _part(whole: Period, part: Period, zone: str) -> Part | None:
    """Measure a part; nothing can be shared of what begins and ends on one day."""
    return part_of(whole, part, zone) if len(whole.days(zone)) > 1 else None
