"""Open periods with what they bring, and give back what a cut one leaves unused.

Works under the customer's lock, which the caller holds. A period is opened and paid for to the end
of its interval; where a change comes before, it is cut there, and what was paid for the days after
is credited when the next one opens: see "A change cuts its period" in docs/decisions.
"""

from datetime import datetime
from decimal import Decimal
from itertools import groupby, takewhile
from operator import attrgetter

from billing_project.kernel import audit
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from billing_project.kernel.users import worker_user
from credits.models import BillingPeriod, GrantCategory
from credits.services.grants import issue_grant
from credits.services.periods import end_billing_period, open_billing_period
from invoicing.models import Invoice, InvoiceStatus, PlanVersion, Subscription
from invoicing.phases import Opening, Standing
from invoicing.selectors.advance import advance_lines
from invoicing.selectors.changes import (
    PLAN_INCLUDED,
    Unused,
    begins_paying,
    coming,
    included_credits,
    included_key,
    last_period,
    standing_changes,
    steps_of,
    unused_key,
    unused_of,
)
from invoicing.services.credit_notes import issue_credit_note, undisputed
from invoicing.services.drafts import Draft, create_draft, write_lines
from invoicing.services.seats import (
    give_back_removed_seats,
    give_back_unused_seats,
    settle_seats_of,
)
from invoicing.services.shortening import claim_until
from metering.selectors.customers import closed_times, was_closed_at

_UNUSED = "cancel_future"  # What was promised and not begun comes off the liability.


def lock_subscription(subscription: Subscription) -> Subscription:
    """Hold a subscription, after its customer, and return it as it stands now."""
    return (
        Subscription.objects.select_for_update(no_key=True, of=("self",))
        .select_related("customer", "plan_version__plan", "plan_version__rate_card__pricing_unit")
        .get(pk=subscription.pk)
    )


def open_begun(subscription: Subscription, *, by: User, at: datetime) -> int:
    """Open every period of a locked subscription that began by `at`; return how many.

    A period that begins while its customer is closed, or while it is paused, has no fee and no
    included credits; its usage is still rated and billed.
    """
    last = last_period(subscription)
    next_ones = coming(subscription, last, steps_of(subscription), subscription.ends_at)
    opened = 0
    for opening in takewhile(lambda one: one.period.start <= at, next_ones):
        if last is not None:
            settle_seats_of(subscription, last, at)
        period = open_period(subscription, opening, by=by, at=at)
        if last is not None and last.uncut_end_at is not None:
            credit_unused(subscription, last, at=at)
        audit.record(by=by, at=at, action="renew", subject=subscription, billing_period=period.pk)
        last = period
        opened += 1
    return opened


def open_period(
    subscription: Subscription, opening: Opening, *, by: User, at: datetime
) -> BillingPeriod:
    """Open a period of a locked subscription with its credits and its fee."""
    version = _version(opening)
    opened = open_billing_period(
        customer=subscription.customer,
        rate_card=version.rate_card,
        period=opening.period,
        source_key=f"subscription:{subscription.pk}:{opening.period.start.isoformat()}",
        at=at,
    )
    if opening.changes_at is not None:
        end_billing_period(period=opened, end_at=opening.changes_at, at=at)
    closed = closed_times(subscription.customer_id)
    if opening.phase.standing == Standing.PAUSED or was_closed_at(opening.period.start, closed):
        return opened
    included = _grant(subscription, version, opening, opened, by, at)
    if opening.phase.standing == Standing.ACTIVE:
        _draft_advance(subscription, version, opening, opened, included, at)
    return opened


def credit_unused(
    subscription: Subscription,
    billing_period: BillingPeriod,
    *,
    at: datetime,
    of: Invoice | None = None,
) -> None:
    """Give back what was claimed ahead for days after a period was cut; again, it does nothing.

    A draft claims less; an issued invoice is credited by a note, and what was paid of it becomes
    the customer's balance, which pays for what begins.

    Args:
        of: Only what this invoice claims; None: all that do.
    """
    cut = standing_changes(subscription).filter(effective_at=billing_period.end_at)
    if cut.filter(credits_unused=False).exists():
        return
    found = _unused(billing_period, of)
    for invoice, of_invoice in groupby(found, key=attrgetter("line.invoice")):
        parts = list(of_invoice)
        if invoice.status == InvoiceStatus.DRAFT:
            claim_until(invoice, parts, billing_period.end_at)
        elif invoice.status in (InvoiceStatus.FINALIZED, InvoiceStatus.PAID):
            _credit(invoice, parts, billing_period, at)
    give_back_unused_seats(subscription, billing_period, at)


def claim_served(draft: Invoice, at: datetime) -> None:
    """Let a draft that claims a void invoice again claim what was served, and no seats too many."""
    sold = draft.subscription
    for period in BillingPeriod.objects.filter(pk__in=draft.lines.values("billing_period")):
        assert sold is not None, "what has a period has its subscription"
        if period.uncut_end_at is not None and period.end_at <= at:
            credit_unused(sold, period, at=at, of=draft)
        else:
            give_back_removed_seats(sold, period, at)


def _unused(billing_period: BillingPeriod, of: Invoice | None) -> list[Unused]:
    found = unused_of(billing_period, billing_period.end_at)
    return [one for one in found if of is None or one.line.invoice == of]


def _version(opening: Opening) -> PlanVersion:
    return PlanVersion.objects.select_related("plan", "rate_card__pricing_unit").get(
        pk=opening.phase.terms.key
    )


def _grant(
    subscription: Subscription,
    version: PlanVersion,
    opening: Opening,
    opened: BillingPeriod,
    by: User,
    at: datetime,
) -> Decimal:
    """Give the period's included credits; those of a trial are for the trial's days."""
    is_trial = opening.phase.standing == Standing.TRIAL
    span = Period(opening.period.start, opening.ends_at) if is_trial else opening.period
    amount = included_credits(subscription.customer, version, opening, span)
    if amount:
        issue_grant(
            customer=subscription.customer,
            category=GrantCategory.INCLUDED,
            amount=amount,
            pricing_unit=version.rate_card.pricing_unit,
            reason_code=PLAN_INCLUDED,
            source_key=included_key(opened),
            by=by,
            at=at,
            effective_at=span.start,
            expires_at=span.end,
            is_promised=True,
        )
    return amount


def _draft_advance(
    subscription: Subscription,
    version: PlanVersion,
    opening: Opening,
    opened: BillingPeriod,
    included: Decimal,
    at: datetime,
) -> None:
    """Draft what a period claims in advance: fees and seats; where nothing is, no invoice is."""
    lines = advance_lines(
        subscription,
        version,
        opening,
        included_credits=included,
        is_first=begins_paying(subscription, opening.period.start),
    )
    _take_into_claim(subscription, opening.period.start, at)
    if not lines:
        return
    invoice = create_draft(
        Draft(
            customer=subscription.customer,
            subscription=subscription,
            currency=version.currency,
            service=opening.period,
            ready_at=opened.start_at,
            source_key=f"billing_period:{opened.pk}:fee",
        ),
        at,
    )
    write_lines(invoice, lines, opened)


def _take_into_claim(subscription: Subscription, start_at: datetime, at: datetime) -> None:
    """Mark the changes that a period's own claim counts: those that took effect with its start.

    What took effect before was settled, or cost nothing, in the periods before.
    """
    taken = subscription.seats.filter(settled_at__isnull=True, effective_at=start_at)
    taken.update(settled_at=at)


def _credit(
    invoice: Invoice, parts: list[Unused], billing_period: BillingPeriod, at: datetime
) -> None:
    asked = [(part.line, part.amount.amount_minor) for part in parts]
    lines = undisputed(invoice, asked)
    if not lines:
        return
    said = "; ".join(part.arithmetic for part in parts)
    if lines != asked:
        said += "; as far as it is not disputed"
    issue_credit_note(
        invoice=invoice,
        lines=lines,
        reason=_UNUSED,
        memo=f"Not used from {billing_period.end_at:%Y-%m-%d} on. {said}",
        key=unused_key(billing_period, invoice),
        by=worker_user(),
        at=at,
    )
