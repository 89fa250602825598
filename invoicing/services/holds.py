"""Hold what is in doubt, release it with a reason, and propose the limits."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from django.db import DataError, IntegrityError, transaction

from billing_project.kernel import audit
from billing_project.kernel.apart import each_apart
from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.content import (
    Content,
    minor_in,
    refuse_missing,
    whole_in,
    yes_or_no_in,
)
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import BillingError, Conflict, Invalid, NotAllowed
from billing_project.kernel.models import User
from billing_project.kernel.money import is_currency
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from credits.models import BillingPeriod
from invoicing.models import BillingHold, HoldCause, Invoice, InvoicePolicy
from invoicing.selectors.holds import (
    content_of_policy,
    doubts_about,
    hold_of,
    holds_to_reopen,
    was_released,
    why_not_release,
)
from invoicing.services.locks import require_permission

# What a person has to look at: it would fail in the next run, too. Faults of connections pass.
FAULTS = (BillingError, IntegrityError, DataError, ArithmeticError, LookupError, ValueError)
# What finance has to open, or to approve, for all drafts alike: nobody releases each of them.
_OF_MARKETS = {"market_closed", "tax_rate_missing", "entity_not_approved"}
_LONGEST_DETAIL = 500
_LARGEST = 10**15


def words_of_fault(error: Exception) -> str:
    """Say what kept something from being made."""
    return str(error) if isinstance(error, BillingError) else f"{type(error).__name__}: {error}"


def hold_for_fault(invoice: Invoice, error: Exception, by: User, at: datetime) -> BillingHold:
    """Hold a draft that could not be issued, by what stood against it."""
    is_market = isinstance(error, BillingError) and error.code in _OF_MARKETS
    return hold(
        customer_id=invoice.customer_id, invoice=invoice, subject=f"invoice:{invoice.pk}",
        cause=HoldCause.MARKET if is_market else HoldCause.FAULT, detail=words_of_fault(error),
        by=by, at=at,
    )  # fmt: skip


def release_reopened(*, by: User, at: datetime) -> int:
    """Let go the drafts whose market was closed and is open now; return how many."""
    release = partial(release_hold, reason="its market can be sold in now", by=by, at=at)
    return each_apart(holds_to_reopen(at), lambda held: bool(release(hold=held)), step="reopen")


def hold_if_in_doubt(
    invoice: Invoice, period: BillingPeriod | None, by: User, at: datetime
) -> BillingHold | None:
    """Hold a draft that is not to be issued by itself; call it in the issuing transaction.

    What a person released in the same words is not held for it again.

    Args:
        period: Whose usage the draft claims, unless all of the customer's is known to be rated.
    """
    subject = f"invoice:{invoice.pk}"
    for cause, detail in doubts_about(invoice, period, at).items():
        if not was_released(subject, cause, detail):
            return hold(
                customer_id=invoice.customer_id, invoice=invoice, subject=subject, cause=cause,
                detail=detail, by=by, at=at,
            )  # fmt: skip
    return None


def hold(
    *, customer_id: int, subject: str, cause: str, detail: str, by: User, at: datetime,
    invoice: Invoice | None = None,
) -> BillingHold:  # fmt: skip
    """Keep a subject from runs until a person releases it; one that is held stays as it is."""
    before = hold_of(subject)
    if before is not None:
        return before
    try:
        with transaction.atomic():
            row = BillingHold.objects.create(
                customer_id=customer_id, invoice=invoice, subject=subject, cause=cause,
                detail=detail[:_LONGEST_DETAIL], opened_at=at,
            )  # fmt: skip
    except IntegrityError:  # Another worker held it meanwhile.
        return BillingHold.objects.get(subject=subject, released_at__isnull=True)
    audit.record(by=by, at=at, action="hold_billing", subject=row, cause=cause, detail=row.detail)
    return row


@transaction.atomic
def release_hold(*, hold: BillingHold, reason: str, by: User, at: datetime) -> BillingHold:
    """Let go what is held: the next run goes on with it. The same again changes nothing.

    Raises:
        NotAllowed: a person without the permission; what waits for an approval, an approver lets
            go, who did not sell it.
        Invalid: no reason.
        Conflict: somebody else released it for another reason.
    """
    if hold.cause == HoldCause.APPROVAL:
        _admit_approver(by, hold)
    else:
        require_permission(by, "invoicing.release_billinghold", "release what billing holds")
    refuse_bad_reason(reason)
    locked = BillingHold.objects.select_for_update(no_key=True).get(pk=hold.pk)
    if locked.released_at is not None:
        if (locked.released_by_id, locked.release_reason) != (by.pk, reason):
            raise Conflict(f"{locked} was released by {locked.released_by} already")
        return locked
    end_hold(locked, reason, by, at)
    audit.record(by=by, at=at, action="release_hold", subject=locked, reason=reason)
    return locked


def _admit_approver(by: User, hold: BillingHold) -> None:
    if not by.is_service and (why := why_not_release(by, hold)):
        raise NotAllowed(f"{by.username} may not approve this: {why[0].lower()}{why[1:]}")


def refuse_bad_reason(reason: str) -> None:
    """Refuse to let go, or to reject, without saying why."""
    if not 0 < len(reason.strip()) <= _LONGEST_DETAIL:
        raise Invalid(f"this needs a reason of up to {_LONGEST_DETAIL} characters", field="reason")


def end_hold(locked: BillingHold, reason: str, by: User, at: datetime) -> None:
    """Write on a locked hold who ended it, and why."""
    locked.released_at, locked.released_by, locked.release_reason = at, by, reason
    locked.save(update_fields=["released_at", "released_by", "release_reason"])


@transaction.atomic
def propose_invoice_policy(
    *,
    approval_above: Mapping[str, int],
    approves_first: bool,
    notes_above: Mapping[str, int],
    most_lines: int,
    most_drafts: int,
    invoices_covered: bool = False,
    proposal: Proposal,
    by: User,
    at: datetime,
) -> InvoicePolicy:
    """Write a version of the limits; it governs once finance approved it.

    Args:
        approval_above, notes_above: Minor units >= 0 by currency.
        invoices_covered: Whether a period that owes nothing gets an invoice that states the
            credits it used; for periods that end while it governs.

    Raises:
        Invalid: an unknown currency, or a limit out of bounds.
    """
    for name, limits in (("approval_above", approval_above), ("notes_above", notes_above)):
        for currency, minor in limits.items():
            if not is_currency(currency) or not 0 <= minor < _LARGEST:
                raise Invalid(f"{currency} {minor} is no limit", field=name)
    if not (0 < most_lines <= 10**6 and 0 < most_drafts <= 10**4):
        raise Invalid("a run has at least one line and one draft", field="most_lines")
    wait_for("invoice_policy")
    policy = InvoicePolicy(
        number=next_number(InvoicePolicy.objects.all()), approval_above=dict(approval_above),
        approves_first=approves_first, notes_above=dict(notes_above), most_lines=most_lines,
        most_drafts=most_drafts, invoices_covered=invoices_covered,
    )  # fmt: skip
    return propose_version(
        policy,
        kind="invoice_policy",
        subject=f"invoice_policy:{policy.number}",
        content=content_of_policy(policy),
        proposal=proposal,
        by=by,
        at=at,
    )


@materialise(
    "invoice_policy",
    {
        "approval_above": {"EUR": 40000}, "approves_first": False, "notes_above": {"EUR": 5000},
        "most_lines": 1000, "most_drafts": 100,
    },
)  # fmt: skip
def _from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(
        content, "approval_above", "approves_first", "notes_above", "most_lines", "most_drafts"
    )
    propose_invoice_policy(
        approval_above=_limits_in(content, "approval_above"),
        approves_first=yes_or_no_in(content, "approves_first"),
        notes_above=_limits_in(content, "notes_above"),
        most_lines=whole_in(content, "most_lines", 0),
        most_drafts=whole_in(content, "most_drafts", 0),
        invoices_covered=yes_or_no_in(content, "invoices_covered", default=False),
        proposal=proposal, by=by, at=at,
    )  # fmt: skip


def _limits_in(content: Content, name: str) -> dict[str, int]:
    """Read minor units by currency."""
    limits = content[name]
    if not isinstance(limits, Mapping):
        raise Invalid(f"{name.replace('_', ' ')} are minor units by currency", field=name)
    try:
        return {currency: minor_in(limits, currency) for currency in limits}
    except Invalid as error:
        raise Invalid(str(error), field=name) from error
