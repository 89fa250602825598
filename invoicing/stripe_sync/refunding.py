"""Refund what notes promise, and balances on request, to the cards that paid.

The refund is recorded before Stripe is asked: what is promised to one card is free for nothing
else. One that Stripe refuses, or that comes back later, is the customer's balance from then on.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Insufficient
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from invoicing.models import (
    AttemptState,
    CallKind,
    CallState,
    CreditNote,
    CustomerBalance,
    Dispute,
    PaymentAttempt,
    Refund,
    StripeCall,
    Verdict,
)
from invoicing.selectors import refund_left, refunds_due
from invoicing.services.locks import lock_invoice
from invoicing.services.refunds import (
    record_balance_refund,
    record_refund,
    record_refund_failure,
)
from invoicing.stripe_sync.calls import NOT_MADE, Misfit, ask_again, finish, write_call
from invoicing.stripe_sync.collecting import METHOD
from invoicing.stripe_sync.gateway import Json
from invoicing.stripe_sync.policy import from_stripe, movable, to_stripe
from metering.services.customers import lock_customer

_MOST = 1_000


def open_refunds(*, by: User, at: datetime) -> int:
    """Write a refund for each note that promises one on what Stripe collected; return how many."""
    notes = [due.note for due in refunds_due(_MOST)]
    return each_apart(notes, partial(_refund_note, by=by, at=at), step="refund")


@transaction.atomic
def _refund_note(note: CreditNote, by: User, at: datetime) -> int:
    invoice = lock_invoice(note.invoice)
    left, made = refund_left(note), 0
    for attempt, free in _refundable(PaymentAttempt.objects.filter(invoice=invoice)):
        part = movable(min(left, free), note.currency)
        if not part:
            continue
        refund = record_refund(
            credit_note=note, amount_minor=part, method=METHOD, reference=_reference(attempt),
            refunded_at=at, key=f"stripe:note:{note.pk}:{attempt.pk}", by=by, at=at,
        )  # fmt: skip
        _write(refund, attempt, at)
        left, made = left - part, made + 1
    return made


@transaction.atomic
def refund_balance(
    *, balance: CustomerBalance, amount_minor: int, key: str, by: User, at: datetime
) -> list[Refund]:
    """Refund a part of a balance to the cards that paid last.

    Args:
        key: The caller's name for it; the same again refunds nothing more.

    Raises:
        NotAllowed: a person without the permission.
        Insufficient: the balance, or what Stripe collected of the customer, is less.
    """
    customer = lock_customer(balance.customer_id)
    before = Refund.objects.filter(source_key__startswith=f"stripe:balance:{balance.pk}:{key}:")
    if before.exists():
        return list(before.order_by("id"))
    paid = PaymentAttempt.objects.filter(invoice__customer=customer, currency=balance.currency)
    refunds, left = [], amount_minor
    for attempt, free in _refundable(paid):
        part = movable(min(left, free), balance.currency)
        if not part:
            break
        refund = record_balance_refund(
            balance=balance, amount_minor=part, method=METHOD, reference=_reference(attempt),
            refunded_at=at, key=f"stripe:balance:{balance.pk}:{key}:{attempt.pk}", by=by, at=at,
        )  # fmt: skip
        _write(refund, attempt, at)
        refunds.append(refund)
        left -= part
    if left:
        reach = Money(amount_minor - left, balance.currency)
        raise Insufficient(f"what Stripe collected reaches for {reach}", field="amount")
    return refunds


def take_answer(call: StripeCall, made: Json, by: User, at: datetime) -> None:
    """Take the refund that a call made."""
    _take(_refund_of(call), made, by, at)


def refuse(call: StripeCall, code: str, by: User, at: datetime) -> None:
    """Ask again for what was never made; what Stripe refuses is the customer's balance."""
    if code == NOT_MADE:
        ask_again(call, code, by, at)
        return
    refund = _refund_of(call)
    reason = f"Stripe refused it: {call.error or code}"[:500]
    record_refund_failure(refund=refund, reason=reason, failed_at=at, by=by, at=at)


@transaction.atomic
def take_refund(*, made: Json, by: User, at: datetime) -> str:
    """Take a refund as Stripe has it now, however it was heard of; say what came of it.

    Raises:
        Misfit: it goes by the name of a refund of ours, and is not what was asked for.
    """
    call = _call_of(made)
    if call is None:
        return "of no refund here"  # Made at the dashboard: reconciliation shows it to finance.
    assert call.customer_id is not None, "stripe_call_has_customer"
    lock_customer(call.customer_id)
    call = StripeCall.objects.select_for_update(no_key=True).get(pk=call.pk)
    if call.state in (CallState.PENDING, CallState.UNKNOWN):
        finish(call, CallState.DONE, at, made["id"])
    _take(_refund_of(call), made, by, at)
    return f"refund {made['status']}"


def _call_of(made: Json) -> StripeCall | None:
    """Return the call that made a refund, which may be heard of before its answer."""
    refunds = StripeCall.objects.filter(kind=CallKind.REFUND)
    key = (made.get("metadata") or {}).get("billing_call", "")
    call = refunds.filter(stripe_id=made["id"]).first()
    call = call or refunds.filter(idempotency_key=key).first()
    if call is not None:
        asked = (call.stripe_id or made["id"], call.params["payment_intent"], call.params["amount"])
        found = (made["id"], made["payment_intent"], made["amount"])
        if asked != found:
            raise Misfit(f"{made['id']} is {found}, and {call} asked for {asked}")
    return call


def _take(refund: Refund, made: Json, by: User, at: datetime) -> None:
    if made["status"] in ("failed", "canceled") and not hasattr(refund, "failure"):
        reason = f"Stripe: {made.get('failure_reason') or made['status']}"
        record_refund_failure(refund=refund, reason=reason, failed_at=at, by=by, at=at)


def _write(refund: Refund, attempt: PaymentAttempt, at: datetime) -> None:
    params: Json = {
        "payment_intent": attempt.call.stripe_id,
        "amount": to_stripe(refund.amount_minor, refund.currency),
        "metadata": {"refund": str(refund.pk)},
    }
    write_call(
        kind=CallKind.REFUND, subject=f"refund:{refund.pk}", customer_id=refund.customer_id,
        params=params, at=at,
    )  # fmt: skip


def _refund_of(call: StripeCall) -> Refund:
    return Refund.objects.get(pk=int(call.subject.partition(":")[2]))


def _reference(attempt: PaymentAttempt) -> str:
    """Name a refund before Stripe does: the intent, and the how many-th refund of it this is."""
    before = StripeCall.objects.filter(
        kind=CallKind.REFUND, generation=1, params__payment_intent=attempt.call.stripe_id
    )
    return f"{attempt.call.stripe_id}/{before.count() + 1}"


def _refundable(attempts: QuerySet[PaymentAttempt]) -> Iterator[tuple[PaymentAttempt, int]]:
    """Yield payments with what may still go back of each, the newest first."""
    disputed = Dispute.objects.filter(invoice=OuterRef("invoice")).exclude(
        outcome__verdict=Verdict.WON
    )
    paid = attempts.filter(~Exists(disputed), state=AttemptState.SUCCEEDED).select_related("call")
    for attempt in paid.order_by("-id"):
        refunds = StripeCall.objects.filter(
            kind=CallKind.REFUND, params__payment_intent=attempt.call.stripe_id
        ).exclude(state=CallState.FAILED)
        taken = sum(int(call.params["amount"]) for call in refunds)
        yield attempt, attempt.amount_minor - from_stripe(taken, attempt.currency)
