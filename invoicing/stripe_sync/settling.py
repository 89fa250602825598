"""Settle by hand what Stripe has and we lack: say why it is right, or take it into the books."""

from datetime import UTC, datetime

from django.db import transaction
from django.db.models import Q

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Insufficient, Invalid
from billing_project.kernel.models import User
from invoicing.models import (
    CallKind,
    CallState,
    CustomerBalance,
    PaymentAttempt,
    Refund,
    StripeCall,
    StripeDifference,
)
from invoicing.services.locks import require_permission
from invoicing.services.refunds import record_balance_refund
from invoicing.stripe_sync.calls import OPEN, finish, write_call
from invoicing.stripe_sync.collecting import METHOD, attempt_of_intent
from invoicing.stripe_sync.gateway import Json, fetch
from invoicing.stripe_sync.policy import from_stripe
from metering.services.customers import lock_customer

REFUND = "refund "  # How the subjects of differences about refunds begin.


@transaction.atomic
def explain_difference(
    *, difference: StripeDifference, reason: str, by: User, at: datetime
) -> StripeDifference:
    """Close a difference that is right as it is; it opens again only once either side changes.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no reason.
        Conflict: it is closed, or not as it was when it was looked at.
    """
    require_permission(by, "invoicing.record_payment", "explain differences")
    if not 0 < len(reason.strip()) <= 500:
        raise Invalid("a reason has 1 to 500 characters", field="reason")
    row = StripeDifference.objects.select_for_update().get(pk=difference.pk)
    if row.resolved_at is not None:
        raise Conflict(f"{row} is closed")
    if (row.here, row.there) != (difference.here, difference.there):
        raise Conflict(f"{row} has changed since: look at it again")
    row.resolved_at, row.explanation, row.explained_by = at, reason.strip(), by
    row.save(update_fields=["resolved_at", "explanation", "explained_by"])
    audit.record(by=by, at=at, action="explain_difference", subject=row, reason=reason)
    return row


def adopt_refund(*, difference: StripeDifference, by: User, at: datetime) -> Refund:
    """Record a refund that was made at Stripe's dashboard, out of the customer's balance.

    A credit note says first what is given back for which lines: settled to the balance, it leaves
    there just what this takes. Call it outside a transaction: it waits for Stripe.

    Raises:
        NotAllowed: a person without the permission.
        Conflict: the difference is about nothing of the kind, or the refund is of no payment of
            ours, is recorded, was asked for here and waits for its answer, or did not succeed.
        Insufficient: the customer's balance is less.
        NotThere, Unreachable: Stripe does not tell the refund.
    """
    require_permission(by, "invoicing.record_refund", "record refunds")
    if difference.resolved_at is not None or not is_foreign_refund(difference):
        raise Conflict(f"{difference} is no refund that only Stripe has")
    made = fetch("refunds", difference.subject.removeprefix(REFUND))
    attempt = attempt_of_intent(made.get("payment_intent") or "")
    if attempt is None:
        raise Conflict("it gives back no payment that was collected here: say why it is right")
    if made["status"] != "succeeded":
        raise Conflict(f"{made['id']} is {made['status']}: only money that went back is recorded")
    return _adopt(difference, made, attempt, by, at)


def is_foreign_refund(difference: StripeDifference) -> bool:
    """Tell whether a difference is a refund that only Stripe has."""
    return difference.kind == "only_there" and difference.subject.startswith(REFUND)


@transaction.atomic
def _adopt(
    difference: StripeDifference, made: Json, attempt: PaymentAttempt, by: User, at: datetime
) -> Refund:
    customer = lock_customer(attempt.invoice.customer_id)
    _refuse_recorded(made)
    balances = CustomerBalance.objects.filter(customer=customer, currency=attempt.currency)
    if (balance := balances.first()) is None:
        raise Insufficient(f"{customer} has no balance: credit the invoice to it first")
    refund = record_balance_refund(
        balance=balance, amount_minor=from_stripe(made["amount"], attempt.currency), method=METHOD,
        reference=made["id"], refunded_at=min(datetime.fromtimestamp(made["created"], UTC), at),
        key=f"stripe:adopted:{made['id']}", by=by, at=at,
    )  # fmt: skip
    params: Json = {"payment_intent": made["payment_intent"], "amount": made["amount"]}
    call = write_call(
        kind=CallKind.REFUND, subject=f"refund:{refund.pk}", customer_id=customer.pk,
        params=params, at=at,
    )  # fmt: skip
    finish(call, CallState.DONE, at, made["id"])
    explain_difference(
        difference=difference, reason=f"recorded as refund {refund.reference}", by=by, at=at
    )
    return refund


def _refuse_recorded(made: Json) -> None:
    """Refuse what was recorded before Stripe was asked for it, be its answer here or on its way."""
    key = (made.get("metadata") or {}).get("billing_call", "")
    is_ours = Q(stripe_id=made["id"]) | Q(idempotency_key=key, state__in=OPEN)
    if StripeCall.objects.filter(is_ours, kind=CallKind.REFUND).exists():
        raise Conflict(f"{made['id']} is recorded: it was asked for here, or taken in before")
