"""Send calls and settle what came of them, whatever was lost on the way.

Each try is committed before it is sent: a process that ends in the middle leaves a call of which
nobody knows whether it was done. The same key finds out while Stripe keeps it; afterwards, and
where Stripe replays an error, the object is looked for. Nothing is ever sent blindly again.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime

from django.db import transaction

from billing_project.kernel.models import User
from invoicing.models import MIRRORED, CallKind, CallState, StripeCall
from invoicing.stripe_sync import collecting, customers, mirroring, refunding
from invoicing.stripe_sync.calls import NOT_MADE, OPEN, ask_again, finish
from invoicing.stripe_sync.gateway import Answer, Json, Outcome, Unreachable, find_made, post
from invoicing.stripe_sync.policy import is_key_alive, wait
from metering.services.customers import lock_customer

log = logging.getLogger(__name__)
MONEY = tuple(kind for kind in CallKind if kind not in MIRRORED)
_PATIENCE = 5  # Calls without any answer, one after the other: Stripe is down, try later.

_NOT_MADE = Answer(Outcome.REFUSED, code=NOT_MADE)

Settle = Callable[[StripeCall, Json, User, datetime], None]
Refuse = Callable[[StripeCall, str, User, datetime], None]
_DONE: dict[str, Settle] = {
    CallKind.CUSTOMER: customers.take_customer,
    CallKind.PAYMENT: collecting.take_answer,
    CallKind.REFUND: refunding.take_answer,
    CallKind.METER: mirroring.take_meter,
    CallKind.COPY: mirroring.take_copy,
}
_REFUSED: dict[str, Refuse] = {
    CallKind.CUSTOMER: ask_again,
    CallKind.PAYMENT: collecting.refuse,
    CallKind.REFUND: refunding.refuse,
    CallKind.METER: ask_again,
    CallKind.GRANT: ask_again,
    CallKind.COPY: ask_again,
    CallKind.COPY_LINES: ask_again,
    CallKind.NOTE: ask_again,
    CallKind.END: ask_again,
}


def send_due(
    *,
    by: User,
    now: Callable[[], datetime],
    limit: int = 500,
    kinds: Collection[str] = MONEY,
    pace: Callable[[], None] = lambda: None,
    is_over: Callable[[], bool] = lambda: False,
) -> int:
    """Send what is due, the oldest first; return how many calls were settled.

    When Stripe does not answer several times in a row the rest waits: each knows when it is next.

    Args:
        pace: Called before each call; waits where it would come too soon.
        is_over: Asked before each call; the rest waits for the next run.
    """
    due = StripeCall.objects.filter(state__in=OPEN, next_at__lte=now(), kind__in=kinds)
    settled = silent = 0
    for pk in list(due.order_by("id").values_list("pk", flat=True)[:limit]):
        if is_over():
            break
        pace()
        answer = send(pk, by=by, at=now())
        if answer is None:
            continue
        settled += answer.outcome in (Outcome.DONE, Outcome.REFUSED)
        silent = silent + 1 if answer.outcome is Outcome.AGAIN else 0
        if silent >= _PATIENCE:
            log.warning("stripe_silent", extra={"calls": silent})
            break
    return settled


def send(pk: int, *, by: User, at: datetime, is_awaited: bool = False) -> Answer | None:
    """Send one call and settle it; None where somebody else holds it, or it is not due.

    Call it outside a transaction: it waits for the network.

    Args:
        is_awaited: A person waits: it is due as soon as nobody can be sending it any more.
    """
    call = _claim(pk, at, is_awaited)
    if call is None:
        return None
    answer = _ask(call, at)
    _settle(call, answer, by, at)
    return answer


@transaction.atomic
def _claim(pk: int, at: datetime, is_awaited: bool) -> StripeCall | None:
    """Write down that a call is being sent, before it is."""
    open_ = StripeCall.objects.filter(pk=pk, state__in=OPEN)
    call = open_.select_for_update(skip_locked=True, no_key=True).first()
    if call is None or at < (_free_at(call) if is_awaited else call.next_at):
        return None
    call.state = CallState.UNKNOWN
    call.first_sent_at = call.first_sent_at or at
    call.attempt_count += 1
    call.next_at = at + wait(call.attempt_count, call.idempotency_key)
    call.save(update_fields=["state", "first_sent_at", "attempt_count", "next_at"])
    return call


def _free_at(call: StripeCall) -> datetime:
    """Return from when on nobody can still be sending a call: one wait after its last try."""
    if not call.attempt_count:
        return call.created_at
    key, first = call.idempotency_key, 1
    return call.next_at - wait(call.attempt_count, key) + wait(first, key)


def _ask(call: StripeCall, at: datetime) -> Answer:
    assert call.first_sent_at is not None, "a call that is sent was claimed"
    refused: Answer | None = None
    if is_key_alive(call.first_sent_at, at):
        answer = post(call.kind, call.params, call.idempotency_key)
        if answer.outcome is Outcome.LOOK_UP and call.kind == CallKind.USAGE:
            # Usage cannot be looked up; its identifier is taken once a day, under any key.
            answer = post(call.kind, call.params, f"{call.idempotency_key}:again")
        if answer.outcome not in (Outcome.LOOK_UP, Outcome.CHECK):
            return answer
        refused = answer if answer.outcome is Outcome.CHECK else None
    try:
        if call.kind == CallKind.USAGE:
            return mirroring.look_up(call)
        found = find_made(call.kind, call.params, call.idempotency_key, call.first_sent_at)
    except Unreachable as error:
        return Answer(Outcome.AGAIN, code="unreachable", message=str(error))
    if found:
        return Answer(Outcome.DONE, found)
    return replace(refused, outcome=Outcome.REFUSED) if refused else _NOT_MADE


@transaction.atomic
def _settle(call: StripeCall, answer: Answer, by: User, at: datetime) -> None:
    """Let the answer take effect, once, and close the call with it."""
    if call.customer_id is not None:
        lock_customer(call.customer_id)
    locked = StripeCall.objects.select_for_update(no_key=True).get(pk=call.pk)
    if locked.state not in OPEN:
        return  # A webhook was faster.
    locked.error_code, locked.error = answer.code[:60], answer.message[:500]
    if answer.outcome is Outcome.AGAIN:
        locked.save(update_fields=["error_code", "error"])
        return
    if answer.outcome is Outcome.DONE:
        finish(locked, CallState.DONE, at, str(answer.object["id"]))
        if take := _DONE.get(locked.kind):
            take(locked, answer.object, by, at)
    else:
        finish(locked, CallState.FAILED, at)
        if refuse := _REFUSED.get(locked.kind):  # Of the others the row says why.
            refuse(locked, answer.code, by, at)
