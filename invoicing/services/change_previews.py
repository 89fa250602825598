"""Show what a change would do, by doing it and taking it back: a preview cannot differ from it.

Everything happens in a savepoint that is rolled back, document numbers included; nothing of it is
seen outside, and nothing stays.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice, takewhile

from django.db import transaction

from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from credits.models import BillingPeriod
from invoicing.models import InvoiceLine, Subscription
from invoicing.selectors import billing_periods_of, plan_version_at
from invoicing.selectors.changes import coming, granted_with, last_period, steps_of, unused_of
from invoicing.selectors.seats import unused_seats
from invoicing.services.changes import Asked, change_subscription, effective_time
from invoicing.services.openings import lock_subscription, open_begun
from metering.services.customers import lock_customer

_MOST_AHEAD = 40
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Effect:
    """One amount that a change claims or gives back, with how it comes about and for when."""

    description: str
    amount: Money
    start_at: datetime
    end_at: datetime


@dataclass(frozen=True)
class ChangePreview:
    """What a change would do.

    Attributes:
        unused: What was claimed ahead and would be given back: it leaves what is deferred, and is
            earned no more.
        charges: What the period that begins would claim: it is earned by the day over its span.
        credits: Included credits that would be granted; what was granted before stays.
        plan: What the customer has from then on.
        begins_at, ends_at: The period that begins; None where none does.
    """

    effective_at: datetime
    currency: str
    unused: tuple[Effect, ...]
    charges: tuple[Effect, ...]
    credits: Decimal
    plan: str
    begins_at: datetime | None
    ends_at: datetime | None

    @property
    def unused_minor(self) -> int:
        """Sum what would be given back."""
        return sum(effect.amount.amount_minor for effect in self.unused)

    @property
    def charged_minor(self) -> int:
        """Sum what would be claimed."""
        return sum(effect.amount.amount_minor for effect in self.charges)

    @property
    def net_minor(self) -> int:
        """What the customer would owe more; negative: less."""
        return self.charged_minor - self.unused_minor


def preview_change(
    *, subscription: Subscription, asked: Asked, by: User, at: datetime
) -> ChangePreview:
    """Work out a change's effect on invoices, credits and revenue.

    Raises what changing would; Invalid also where too many periods begin before it takes effect.
    """
    with transaction.atomic():
        point = transaction.savepoint()
        try:
            return _try(subscription, asked, by, at)
        finally:
            transaction.savepoint_rollback(point)


def _try(subscription: Subscription, asked: Asked, by: User, at: datetime) -> ChangePreview:
    lock_customer(subscription.customer_id)
    locked = lock_subscription(subscription)
    open_begun(locked, by=by, at=at)
    effective_at = effective_time(locked, asked.when, at)
    if effective_at > at:
        _open_until(locked, effective_at, by)
    running = last_period(locked)
    assert running is not None, "selling a plan opened its first period"
    unused: tuple[Effect, ...] = ()
    if asked.credits_unused and running.start_at < effective_at < running.full_end_at:
        unused = _unused(locked, running, effective_at)
    change = change_subscription(subscription=locked, asked=asked, by=by, at=at)
    locked = lock_subscription(locked)
    open_begun(locked, by=by, at=max(at, change.effective_at))
    version = plan_version_at(locked, change.effective_at)
    opened = billing_periods_of(locked).filter(start_at=change.effective_at).first()
    return ChangePreview(
        effective_at=change.effective_at,
        currency=version.currency,
        unused=unused,
        charges=_charges(opened),
        credits=granted_with([opened] if opened else []),
        plan=str(version),
        begins_at=opened.start_at if opened else None,
        ends_at=opened.end_at if opened else None,
    )


def _open_until(subscription: Subscription, end: datetime, by: User) -> None:
    """Open for show what begins before a scheduled change: it cuts a period that is to come.

    Raises:
        Invalid: so many periods begin before it that nobody could look at its effect.
    """
    begin_before = coming(
        subscription, last_period(subscription), steps_of(subscription), subscription.ends_at
    )
    ahead = takewhile(lambda opening: opening.period.start < end, begin_before)
    if sum(1 for _ in islice(ahead, _MOST_AHEAD + 1)) > _MOST_AHEAD:
        raise Invalid(
            f"its effect can be shown only while at most {_MOST_AHEAD} periods begin before it",
            field="when",
        )
    open_begun(subscription, by=by, at=end - _INSTANT)


def _unused(
    subscription: Subscription, running: BillingPeriod, effective_at: datetime
) -> tuple[Effect, ...]:
    found = [
        Effect(part.arithmetic, part.amount, effective_at, part.line.service_end_at)
        for part in unused_of(running, effective_at)
    ]
    if (minor := unused_seats(subscription, running, effective_at)) > 0:
        currency = plan_version_at(subscription, running.start_at).currency
        found.append(Effect("Seats", Money(minor, currency), effective_at, running.full_end_at))
    return tuple(found)


def _charges(opened: BillingPeriod | None) -> tuple[Effect, ...]:
    lines = InvoiceLine.objects.filter(billing_period=opened, invoice__status="draft")
    if opened is None:
        return ()
    return tuple(
        Effect(
            line.description,
            Money(line.amount_minor, line.invoice.currency),
            line.service_start_at,
            line.service_end_at,
        )
        for line in lines.select_related("invoice").order_by("invoice_id", "position")
    )
