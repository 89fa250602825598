"""What a plan's items claim when a period begins: fees, seats, fees claimed once, commitments."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from billing_project.kernel.money import Money
from billing_project.kernel.period import Period
from credits.models import BillingPeriod
from invoicing.discounts import discounted
from invoicing.items import Item
from invoicing.lines import Kind, Line, commitment_line, fee_line
from invoicing.models import InvoiceLine, LineKind, PlanVersion, SeatChange, Subscription
from invoicing.periods import Unit, bound
from invoicing.phases import Opening, Standing
from invoicing.proration import Part, part_of
from invoicing.seats import Change, Pricing, advance_line, seats_at, worth
from invoicing.selectors.changes import begins_paying, coming, included_credits, steps_of
from invoicing.selectors.offers import offers_for
from invoicing.selectors.plans import items_of, plan_version_at


def advance_lines(
    subscription: Subscription,
    version: PlanVersion,
    opening: Opening,
    *,
    included_credits: Decimal,
    is_first: bool,
) -> list[Line]:
    """Return the lines that a period claims when it begins; the base fee is the first.

    A period that is a part of its interval claims its share by the day; what comes to nothing is
    left out. Discounts that hold then are taken off.

    Args:
        version: The terms that govern the period.
        opening: The period, to the end of its interval.
        included_credits: What it grants; the fee's line says so.
        is_first: Whether it claims what is claimed once.
    """
    part = part_of(opening.interval, opening.period, subscription.customer.time_zone)
    lines = []
    if version.fee_minor:
        fee = Money(version.fee_minor, version.currency)
        lines.append(fee_line(version.plan.name, fee, included_credits, part))
    for item in items_of(version, "recurring", "seat", "one_off", "commitment"):
        if item.kind == "recurring" and item.timing == "advance":
            lines.append(recurring_line(item, version.currency, part))
        elif item.kind == "seat":
            lines += _seats(subscription, version, opening)
        elif item.kind == "one_off" and is_first:
            lines.append(_one_off(item, subscription, version, opening.period))
        elif item.kind == "commitment" and part.is_whole:
            lines += _commitment(item, subscription, version, opening.period)
    claimed = [line for line in lines if line.amount_minor or part.is_whole]
    offers = offers_for(subscription, version, opening)
    return discounted(claimed, offers, version.currency)


def coming_lines(billing_period: BillingPeriod, subscription: Subscription) -> list[Line]:
    """Return what the period after a running one will claim when it begins; none if none does."""
    steps, ends_at = steps_of(subscription), subscription.ends_at
    opening = next(coming(subscription, billing_period, steps, ends_at), None)
    if opening is None or opening.phase.standing != Standing.ACTIVE:
        return []
    version = plan_version_at(subscription, opening.period.start)
    credits_ = included_credits(subscription.customer, version, opening, opening.period)
    return advance_lines(
        subscription,
        version,
        opening,
        included_credits=credits_,
        is_first=begins_paying(subscription, opening.period.start),
    )


def recurring_line(item: Item, currency: str, part: Part) -> Line:
    """Claim a further fee of a plan for one period, or its share for a part of one."""
    fee, words = Money(item.amount_minor, currency), item.name
    if not part.is_whole:
        words, fee = f"{words}; {part.arithmetic(fee)}", part.amount(fee)
    return Line(
        Kind.RECURRING, words, Decimal(1), "period", fee.decimal, fee.amount_minor,
        f"item:{item.code}",
    )  # fmt: skip


def seat_pricing(
    subscription: Subscription, version: PlanVersion, opening: Opening
) -> Pricing | None:
    """Return what a seat costs in a period; None where the plan sells none, or it is not paid."""
    if opening.phase.standing != Standing.ACTIVE:
        return None
    for item in items_of(version, "seat"):
        price = Money(item.amount_minor, version.currency)
        zone = subscription.customer.time_zone
        return Pricing(item.name, price, opening.period, zone, opening.interval)
    return None


def changes_of(rows: Iterable[SeatChange]) -> list[Change]:
    """Return stored changes of seats as plain values."""
    return [Change(row.effective_at, row.seats) for row in rows]


def _seats(subscription: Subscription, version: PlanVersion, opening: Opening) -> list[Line]:
    pricing = seat_pricing(subscription, version, opening)
    if pricing is None:
        return []
    start = opening.period.start
    changes = changes_of(list(subscription.seats.filter(effective_at__lte=start)))
    seats = seats_at(changes, start)
    return [advance_line(seats, pricing, worth(changes, pricing))] if seats else []


def _one_off(item: Item, subscription: Subscription, version: PlanVersion, service: Period) -> Line:
    """Claim a fee once; it serves for the item's periods from the first one on."""
    zone, unit = subscription.customer.time_zone, Unit(version.interval_unit)
    end = bound(service.start, unit, version.interval_count, item.periods, zone)
    fee = Money(item.amount_minor, version.currency)
    line = Line(
        Kind.ONE_OFF, item.name, Decimal(1), "", fee.decimal, fee.amount_minor, f"item:{item.code}"
    )
    return replace(line, service=Period(service.start, end))


def _commitment(
    item: Item, subscription: Subscription, version: PlanVersion, service: Period
) -> list[Line]:
    """Claim a commitment's next term where none of its terms runs any more.

    A term is of whole intervals: where a plan begins within one, it is sold with the next. Once
    sold it runs to its end, whatever plan follows, and is sold anew by the plan that holds then.
    """
    assert item.credits is not None, "a commitment holds credits"
    key = f"item:{item.code}"
    sold = InvoiceLine.objects.filter(
        kind=LineKind.COMMITMENT, invoice__subscription=subscription,
        source_key__endswith=f":{key}", service_end_at__gt=service.start,
        service_start_at__lt=service.start,
    )  # fmt: skip
    if sold.exists():
        return []
    zone, unit = subscription.customer.time_zone, Unit(version.interval_unit)
    end = bound(service.start, unit, version.interval_count, item.periods, zone)
    last_day = (end.astimezone(ZoneInfo(zone)).date() - timedelta(days=1)).isoformat()
    price = Money(item.amount_minor, version.currency)
    credits_in = version.rate_card.pricing_unit.code
    line = commitment_line(credits_in, item.credits, price, last_day)
    words = f"{item.name}: {line.description[0].lower()}{line.description[1:]}"
    return [replace(line, description=words, key=key, service=Period(service.start, end))]
