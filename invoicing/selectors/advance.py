"""What a plan's items claim when a period begins: further fees, seats, fees claimed once."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from billing_project.kernel.money import Money
from billing_project.kernel.period import Period
from credits.models import BillingPeriod
from invoicing.items import Item
from invoicing.lines import Kind, Line, fee_line
from invoicing.models import PlanVersion, SeatChange, Subscription
from invoicing.periods import Unit, bound
from invoicing.seats import Change, Pricing, advance_line, seats_at, worth
from invoicing.selectors.plans import items_of


def advance_lines(
    subscription: Subscription, version: PlanVersion, service: Period, *, is_first: bool
) -> list[Line]:
    """Return the lines that a period claims when it begins; the base fee is the first.

    Args:
        version: The terms that govern the period.
        service: The period.
        is_first: Whether it is the subscription's first one, which claims what is claimed once.
    """
    lines = []
    if version.fee_minor:
        fee = Money(version.fee_minor, version.currency)
        lines.append(fee_line(version.plan.name, fee, version.included_credits))
    for item in items_of(version, "recurring", "seat", "one_off"):
        if item.kind == "recurring" and item.timing == "advance":
            lines.append(recurring_line(item, version.currency))
        elif item.kind == "seat":
            lines += _seats(item, subscription, version, service)
        elif item.kind == "one_off" and is_first:
            lines.append(_one_off(item, subscription, version, service))
    return lines


def coming_lines(billing_period: BillingPeriod, subscription: Subscription) -> list[Line]:
    """Return what the period after a running one will claim when it begins; none if none does."""
    version, start = subscription.plan_version, billing_period.end_at
    if subscription.ends_at is not None and start >= subscription.ends_at:
        return []
    zone, unit = subscription.customer.time_zone, Unit(version.interval_unit)
    end = bound(start, unit, version.interval_count, 1, zone)
    return advance_lines(subscription, version, Period(start, end), is_first=False)


def recurring_line(item: Item, currency: str) -> Line:
    """Claim a further fee of a plan for one period."""
    fee = Money(item.amount_minor, currency)
    return Line(
        Kind.RECURRING, item.name, Decimal(1), "period", fee.decimal, fee.amount_minor,
        f"item:{item.code}",
    )  # fmt: skip


def seat_pricing(
    subscription: Subscription, version: PlanVersion, service: Period
) -> Pricing | None:
    """Return what a seat costs in a period; None where the plan sells none."""
    for item in items_of(version, "seat"):
        price = Money(item.amount_minor, version.currency)
        return Pricing(item.name, price, service, subscription.customer.time_zone)
    return None


def changes_of(rows: Sequence[SeatChange]) -> list[Change]:
    """Return stored changes of seats as plain values."""
    return [Change(row.effective_at, row.seats) for row in rows]


def _seats(
    item: Item, subscription: Subscription, version: PlanVersion, service: Period
) -> list[Line]:
    pricing = seat_pricing(subscription, version, service)
    assert pricing is not None, f"{item.code} is a seat item"
    before = subscription.seats.filter(effective_at__lte=service.start)
    changes = changes_of(list(before))
    seats = seats_at(changes, service.start)
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
