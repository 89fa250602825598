"""Draft the overage of periods that ended, and rebuild such a draft from what is rated by then.

One period has one open draft at most. Usage rated after it was finalized goes to a further one,
with the period's own service dates.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Max, QuerySet, prefetch_related_objects

from billing_project.kernel import audit
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from billing_project.kernel.remembering import look_again, remembering
from credits.models import BillingPeriod
from invoicing.approval import is_too_often
from invoicing.lines import (
    AmountOutOfBounds,
    Line,
    added_later,
    claimed_again,
    credits_used_lines,
)
from invoicing.models import HoldCause, Invoice, InvoiceStatus, LineKind, Subscription
from invoicing.selectors import (
    OnNoLine,
    OverageState,
    arrears_lines,
    claimed_by,
    credits_used,
    items_of,
    overage_on_no_line,
    overage_state,
    plan_version_of,
    subscription_of,
    uninvoiced,
)
from invoicing.selectors.covered import is_stated, periods_to_draft
from invoicing.selectors.holds import limits_at, open_holds, was_released
from invoicing.selectors.outcomes import billable_outcomes
from invoicing.services.closing import is_usage_closed
from invoicing.services.drafts import Draft, clear_lines, create_draft, write_lines
from invoicing.services.holds import FAULTS, hold, words_of_fault
from invoicing.services.linking import link_usage
from metering.services.customers import lock_customer

_AT_ONCE = 200  # Between two looks at what another worker has drafted.
_INSTANT = timedelta(microseconds=1)


def draft_overage_invoices(*, by: User, at: datetime, backwards: bool = False) -> int:
    """Draft what every period that ended by `at` has to claim: overage, and items in arrears.

    Safe to run twice at once; a period that fails is held, and the run goes on. One whose
    later corrections outweigh what waits gets no draft; see `overcharged_periods`.

    Args:
        backwards: Begin with the last: a second worker, who meets the first in the middle.

    Returns:
        Drafts made or rebuilt.
    """
    held = set(open_holds().values_list("subject", flat=True))
    periods = [one for one in periods_to_draft(at) if _subject(one) not in held]
    if backwards:
        periods.reverse()
    draft = partial(_draft_or_hold, by=by, at=at)
    with remembering():
        return each_apart(_not_drafted_meanwhile(periods), draft, step="draft_overage")


def _not_drafted_meanwhile(periods: Sequence[BillingPeriod]) -> Iterator[BillingPeriod]:
    """Yield periods; of later ones those that another worker has not drafted since."""
    newest = Invoice.objects.aggregate(last=Max("pk"))["last"] or 0
    yield from periods[:_AT_ONCE]
    for first in range(_AT_ONCE, len(periods), _AT_ONCE):
        some = periods[first : first + _AT_ONCE]
        keys = [f"{_subject(one)}:overage" for one in some]
        made = Invoice.objects.filter(source_key__in=keys, pk__gt=newest)
        drafted = set(made.values_list("source_key", flat=True))
        yield from (one for one, key in zip(some, keys, strict=True) if key not in drafted)


def is_overage(invoice: Invoice) -> bool:
    """Tell whether an invoice claims a period's overage; its source key names the period."""
    origin, _, rest = invoice.source_key.partition(":")
    return origin == "billing_period" and rest.split(":")[1:2] == ["overage"]


def billing_period_of(invoice: Invoice) -> BillingPeriod:
    """Return the period whose overage an invoice claims."""
    return BillingPeriod.objects.get(pk=int(invoice.source_key.split(":")[1]))


def rebuild(invoice: Invoice, billing_period: BillingPeriod) -> None:
    """Give a draft the lines and the rated usage of its period as they are now.

    Call under the customer's lock, so that no usage is rated meanwhile. Where nothing is left to
    claim, the draft stays without lines.

    Raises:
        Invalid: the amount is larger than an invoice may claim.
    """
    prefetch_related_objects([invoice], "lines")  # Whoever issues it asks for them again.
    state = overage_state(billing_period)
    if (
        invoice.lines.all()
        and not items_of(plan_version_of(billing_period, invoice.subscription))
        and not uninvoiced(billing_period, LineKind.CREDITS_USED).exists()
        and claimed_by(invoice) == max(state.unbilled, 0)
    ):
        return  # Nothing was rated since, and no note was issued or voided.
    vars(invoice).pop("_prefetched_objects_cache")
    clear_lines(invoice)
    fill(invoice, billing_period, state)


def fill(
    invoice: Invoice,
    billing_period: BillingPeriod,
    state: OverageState,
    on_no_line: OnNoLine | None = None,
) -> None:
    """Give a draft without lines what its period claims; see `rebuild`.

    Where it claims nothing, it states what grants covered, if the policy asks for that.

    Args:
        on_no_line: What waits to be claimed, where that is known already.
    """
    claims = claims_of(invoice, billing_period, state, on_no_line)
    if claims or (_is_over(invoice, billing_period) and is_stated(billing_period)):
        write_claims(invoice, billing_period, claims)


def claims_of(
    invoice: Invoice,
    billing_period: BillingPeriod,
    state: OverageState,
    on_no_line: OnNoLine | None = None,
) -> list[Line]:
    """Return what a draft without lines claims of its period.

    Raises:
        Invalid: the amount is larger than an invoice may claim.
    """
    try:
        return _claims(
            billing_period,
            state,
            is_again=invoice.replaces is not None,
            is_over=_is_over(invoice, billing_period),
            on_no_line=on_no_line,
        )
    except AmountOutOfBounds as error:
        raise Invalid(str(error)) from error


def write_claims(
    invoice: Invoice,
    billing_period: BillingPeriod,
    claims: Sequence[Line],
    workspace_id: int | None = None,
) -> None:
    """Put claims, if any, on a draft, with a statement of the usage that is on no line yet.

    Args:
        workspace_id: Whose usage alone; None for all that is left.
    """
    rows = uninvoiced(billing_period, LineKind.CREDITS_USED)
    if workspace_id is not None:
        rows = rows.filter(window__workspace=workspace_id)
    unit = plan_version_of(billing_period).rate_card.pricing_unit.code
    statement = credits_used_lines(unit, credits_used(rows))
    lines = write_lines(invoice, [*claims, *statement], billing_period)
    link_usage(invoice, billing_period, {line.kind for line in lines}, workspace_id)


def _is_over(invoice: Invoice, billing_period: BillingPeriod) -> bool:
    """Tell a draft of a period that has ended from one whose threshold was reached before."""
    return invoice.ready_at >= billing_period.end_at


def _claims(
    billing_period: BillingPeriod,
    state: OverageState,
    *,
    is_again: bool = False,
    is_over: bool = True,
    on_no_line: OnNoLine | None = None,
) -> list[Line]:
    """Return what is claimed of a period now: overage, and at its end what items claim, too."""
    claim = state.next_line()
    owed = arrears_lines(billing_period, claim) if is_over else []
    if claim is None:
        return owed
    if is_usage_closed(billing_period) and not is_again:
        claim = added_later(claim)
    on_no_line = on_no_line or overage_on_no_line(billing_period)
    return [claimed_again(claim, claim.quantity - on_no_line.credits), *owed]


def _draft_or_hold(billing_period: BillingPeriod, by: User, at: datetime) -> int:
    try:
        return _draft(billing_period, by, at)
    except FAULTS as error:
        hold(
            customer_id=billing_period.customer_id, subject=_subject(billing_period),
            cause=HoldCause.FAULT, detail=words_of_fault(error), by=by, at=at,
        )  # fmt: skip
        raise


@transaction.atomic
def _draft(billing_period: BillingPeriod, by: User, at: datetime) -> int:
    lock_customer(billing_period.customer_id)
    look_again()
    subscription = subscription_of(billing_period)
    plan_version_of(billing_period, subscription)  # The period keeps it for all that ask.
    made = list(_invoices_of(billing_period))
    invoice = next((one for one in made if one.status == InvoiceStatus.DRAFT), None)
    state, on_no_line = overage_state(billing_period), overage_on_no_line(billing_period)
    waits = state.unbilled > 0 and on_no_line.count > 0
    is_claiming = invoice is not None and invoice.lines.exists()
    if not (waits or (not is_claiming and _has_to_say(billing_period, state))):
        return 0  # Another worker drafted it meanwhile, or there is nothing to claim.
    if invoice is not None:
        if not is_claiming:
            _wait_anew(invoice, billing_period, at)
        _refer(invoice, _void_to_replace(billing_period))
        rebuild(invoice, billing_period)
    else:
        if _is_held_as_too_often(billing_period, len(made), by, at):
            return 0
        invoice = _new_draft(billing_period, subscription, len(made), at)
        fill(invoice, billing_period, state, on_no_line)
    audit.record(
        by=by, at=at, action="draft_overage", subject=invoice, total_minor=invoice.total_minor
    )
    return 1


def _wait_anew(emptied: Invoice, billing_period: BillingPeriod, at: datetime) -> None:
    """Let a draft that lost its usage wait out a grace of its own, as a new one would."""
    if emptied.ready_at <= at:
        grace = timedelta(hours=plan_version_of(billing_period).grace_hours)
        emptied.ready_at = at + grace
        emptied.save(update_fields=["ready_at"])


def _has_to_say(billing_period: BillingPeriod, state: OverageState) -> bool:
    """Tell whether a period that claims nothing yet owes, or has covered usage to state."""
    return _owes(billing_period, state) or is_stated(billing_period)


def _owes(billing_period: BillingPeriod, state: OverageState) -> bool:
    """Tell whether a period claims anything, items included, that stands on no line yet."""
    if billable_outcomes().filter(billing_period=billing_period).exists():
        return True
    return bool(_claims(billing_period, state))


def draft_again(void: Invoice, at: datetime) -> Invoice:
    """Draft anew what a void invoice claimed of its period, under the customer's lock.

    A draft of the period that was open already claims it; else there is a new one. It refers to
    the void invoice. While the period runs its grace ends with it at the latest: it is of a
    threshold, which claims nothing in arrears and closes no usage.
    """
    period = billing_period_of(void)
    draft = _open_draft(period)
    if draft is None:
        subscription, count = subscription_of(period), _invoices_of(period).count()
        grace = timedelta(hours=plan_version_of(period, subscription).grace_hours)
        is_running = at < period.end_at
        ready_at = min(at + grace, period.end_at - _INSTANT) if is_running else None
        draft = _new_draft(period, subscription, count, at, ready_at=ready_at, replaces=void)
    _refer(draft, void)
    rebuild(draft, period)
    return draft


def _refer(draft: Invoice, void: Invoice | None) -> None:
    """Let a draft refer to a void invoice that it claims again, unless it does to another."""
    if void is not None and draft.replaces is None:
        draft.replaces = void
        draft.save(update_fields=["replaces"])


def _open_draft(billing_period: BillingPeriod) -> Invoice | None:
    return _invoices_of(billing_period).filter(status=InvoiceStatus.DRAFT).first()


def draft_at_threshold(billing_period: BillingPeriod, at: datetime) -> Invoice | None:
    """Draft what a running period's overage comes to, once it reaches the plan's threshold.

    Call under the customer's lock. What was invoiced before counts no more, so that each crossing
    is drafted once.

    Returns:
        None while less is unbilled, or where the plan has no threshold.
    """
    subscription = subscription_of(billing_period)
    threshold = plan_version_of(billing_period, subscription).threshold_minor
    is_running = billing_period.start_at <= at < billing_period.end_at
    if threshold is None or not is_running:
        return None
    draft = _open_draft(billing_period)
    if draft is not None and draft.lines.exists():
        return None
    state = overage_state(billing_period)
    on_no_line = overage_on_no_line(billing_period)
    if state.unbilled_minor < threshold or state.unbilled <= 0 or not on_no_line.count:
        return None
    if draft is None:
        count = _invoices_of(billing_period).count()
        draft = _new_draft(billing_period, subscription, count, at, ready_at=at)
    elif draft.ready_at > at:  # It lost its usage, and is due at once like any other.
        draft.ready_at = at
        draft.save(update_fields=["ready_at"])
    fill(draft, billing_period, state, on_no_line)
    return draft


def _new_draft(
    billing_period: BillingPeriod,
    subscription: Subscription,
    count: int,
    at: datetime,
    ready_at: datetime | None = None,
    replaces: Invoice | None = None,
) -> Invoice:
    """Add the period's first overage draft, or a further one; each waits out its own grace.

    Args:
        count: Of its drafts and invoices so far.
        replaces: The void invoice that it claims again; None: the newest that no other does.
    """
    version = plan_version_of(billing_period, subscription)
    grace = timedelta(hours=version.grace_hours)
    key = f"billing_period:{billing_period.pk}:overage"
    draft = Draft(
        customer=subscription.customer,
        subscription=subscription,
        currency=version.currency,
        service=Period(billing_period.start_at, billing_period.end_at),
        ready_at=ready_at or (at if count else billing_period.end_at) + grace,
        source_key=f"{key}:{count + 1}" if count else key,
        replaces=replaces or (_void_to_replace(billing_period) if count else None),
    )
    return create_draft(draft, at)


def _void_to_replace(billing_period: BillingPeriod) -> Invoice | None:
    """Return the newest void invoice of a period that no draft or invoice refers to."""
    voids = _invoices_of(billing_period).filter(status=InvoiceStatus.VOID, replacement=None)
    return voids.order_by("-id").first()


def _is_held_as_too_often(
    billing_period: BillingPeriod, count: int, by: User, at: datetime
) -> bool:
    """Stop a period that is invoiced again and again, until a person looked at it."""
    subject = _subject(billing_period)
    why = is_too_often(count, limits_at(at)) if count else ""
    if not why or was_released(subject, HoldCause.BOUNDS, why):
        return False
    hold(
        customer_id=billing_period.customer_id, subject=subject, cause=HoldCause.BOUNDS,
        detail=why, by=by, at=at,
    )  # fmt: skip
    return True


def _subject(billing_period: BillingPeriod) -> str:
    return f"billing_period:{billing_period.pk}"


def _invoices_of(billing_period: BillingPeriod) -> QuerySet[Invoice]:
    """List a period's drafts and invoices; parts that were cut off for a workspace are none."""
    key = f"billing_period:{billing_period.pk}:overage"
    return Invoice.objects.filter(
        customer_id=billing_period.customer_id, source_key__startswith=key
    ).exclude(source_key__startswith=key, source_key__contains=":w")
