"""Collect issued invoices off-session: one open attempt an invoice, retried by a schedule."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from billing_project.kernel import audit
from billing_project.kernel.apart import each_apart
from billing_project.kernel.models import User
from invoicing.models import (
    AttemptState,
    CallKind,
    CallState,
    Invoice,
    InvoiceStatus,
    PaymentAttempt,
    StripeCall,
    StripeCustomer,
)
from invoicing.services.locks import lock_invoice
from invoicing.services.receipts import record_fee, record_receipt
from invoicing.stripe_sync.calls import OPEN, Misfit, finish, write_call
from invoicing.stripe_sync.gateway import Json
from invoicing.stripe_sync.policy import from_stripe, movable, next_try, to_stripe, wait
from metering.services.customers import lock_customer

METHOD = "stripe"
_FAILED = (AttemptState.DECLINED, AttemptState.NOT_MADE)
_WAITING = ("processing", "requires_confirmation", "requires_capture")


def open_attempts(*, by: User, at: datetime) -> int:
    """Write an attempt for each issued invoice that can be collected now; return how many."""
    return each_apart(_collectable(at), partial(_open_attempt, by=by, at=at), step="collect")


def _collectable(at: datetime) -> Iterator[Invoice]:
    """Yield invoices that are owed by customers with a card, and that no try is open for."""
    with_card = StripeCustomer.objects.filter(customer=OuterRef("customer")).exclude(
        payment_method=""
    )
    in_flight = PaymentAttempt.objects.filter(invoice=OuterRef("pk"), state=AttemptState.OPEN)
    owed = Invoice.objects.filter(
        Exists(with_card), ~Exists(in_flight), status=InvoiceStatus.FINALIZED, open_minor__gt=0
    )
    cards = dict(StripeCustomer.objects.values_list("customer_id", "payment_method"))
    for invoice in owed.order_by("id").iterator():
        if is_beyond_stripe(invoice):
            continue  # Reconciliation tells finance: it has to come another way.
        if _may_try(invoice, cards[invoice.customer_id], at):
            yield invoice


def is_beyond_stripe(invoice: Invoice) -> bool:
    """Tell whether Stripe cannot move just what an invoice owes; it is never rounded."""
    return movable(invoice.open_minor, invoice.currency) != invoice.open_minor


def is_being_collected(invoice: Invoice, at: datetime) -> bool:
    """Tell whether a card is being charged for an invoice, or will be in the next run."""
    if invoice.status != InvoiceStatus.FINALIZED or not invoice.open_minor:
        return False
    if invoice.attempts.filter(state=AttemptState.OPEN).exists():
        return True
    known = StripeCustomer.objects.filter(customer=invoice.customer_id).first()
    if known is None or not known.payment_method or is_beyond_stripe(invoice):
        return False
    return _may_try(invoice, known.payment_method, at)


def _may_try(invoice: Invoice, card: str, at: datetime) -> bool:
    """Tell whether the last try leaves room for another: its time has come, or the card is new."""
    last = invoice.attempts.select_related("call").order_by("-number").first()
    if last is None:
        return True
    if last.state not in _FAILED or last.closed_at is None:
        return False
    if last.retry_at is not None and last.retry_at <= at:
        return True
    is_other_card: bool = last.call.params["payment_method"] != card
    return last.state == AttemptState.DECLINED and is_other_card


@transaction.atomic
def _open_attempt(invoice: Invoice, by: User, at: datetime) -> int:
    locked = lock_invoice(invoice)
    row = StripeCustomer.objects.get(customer_id=locked.customer_id)
    in_flight = locked.attempts.filter(state=AttemptState.OPEN)
    if not locked.open_minor or not row.payment_method or in_flight.exists():
        return 0
    if not _may_try(locked, row.payment_method, at):
        return 0  # Another worker was first.
    params: Json = {
        "amount": to_stripe(locked.open_minor, locked.currency),
        "currency": locked.currency.lower(), "customer": row.stripe_id,
        "payment_method": row.payment_method, "confirm": True, "off_session": True,
        "description": f"Invoice {locked.number}", "metadata": {"invoice": locked.number},
        "expand": ["latest_charge.balance_transaction"],
    }  # fmt: skip
    call = write_call(
        kind=CallKind.PAYMENT, subject=f"invoice:{locked.pk}", customer_id=locked.customer_id,
        params=params, at=at,
    )  # fmt: skip
    attempt = PaymentAttempt.objects.create(
        invoice=locked, number=call.generation, call=call, amount_minor=locked.open_minor,
        currency=locked.currency, created_at=at,
    )  # fmt: skip
    audit.record(
        by=by, at=at, action="open_payment_attempt", subject=attempt, invoice=locked.number,
        amount_minor=attempt.amount_minor, currency=attempt.currency,
    )  # fmt: skip
    return 1


def take_answer(call: StripeCall, intent: Json, by: User, at: datetime) -> None:
    """Take the intent that a call made."""
    _take(PaymentAttempt.objects.get(call=call), intent, by, at)


def refuse(call: StripeCall, code: str, by: User, at: datetime) -> None:
    """Close the attempt of a call that was not carried out."""
    attempt = PaymentAttempt.objects.get(call=call)
    if attempt.state != AttemptState.OPEN:
        return
    if code == AttemptState.NOT_MADE:
        retry_at = at + wait(attempt.number, call.idempotency_key)
        _close(attempt, AttemptState.NOT_MADE, code, at, retry_at)
    else:
        _close(attempt, AttemptState.DECLINED, code, at, None)


@transaction.atomic
def take_intent(*, intent: Json, by: User, at: datetime) -> str:
    """Take an intent as Stripe has it now, however it was heard of; say what came of it."""
    attempt = _attempt_of(intent)
    if attempt is None:
        return "of no attempt here"
    lock_customer(attempt.invoice.customer_id)
    attempt.refresh_from_db()
    call = StripeCall.objects.select_for_update(no_key=True).get(pk=attempt.call_id)
    if call.state in OPEN:
        finish(call, CallState.DONE, at, intent["id"])
    _take(attempt, intent, by, at)
    return f"attempt {attempt.state}"


def attempt_of_intent(intent_id: str) -> PaymentAttempt | None:
    """Return the attempt that an intent belongs to."""
    found = PaymentAttempt.objects.filter(call__stripe_id=intent_id, call__kind=CallKind.PAYMENT)
    return found.select_related("invoice", "call").first() if intent_id else None


def _attempt_of(intent: Json) -> PaymentAttempt | None:
    """Return the attempt of an intent that may be heard of before its call was answered.

    Raises:
        Misfit: money came under an attempt's name, and not as it was asked for.
    """
    attempt = attempt_of_intent(intent["id"])
    if attempt is None:
        key = intent.get("metadata", {}).get("billing_call", "")
        attempts = PaymentAttempt.objects.select_related("invoice", "call")
        attempt = attempts.filter(call__idempotency_key=key, call__kind=CallKind.PAYMENT).first()
    unlike = _unlike(attempt.call, intent) if attempt is not None else ""
    if unlike and intent["status"] == "succeeded":
        raise Misfit(f"{intent['id']}: {unlike}")
    return None if unlike else attempt


def _unlike(call: StripeCall, intent: Json) -> str:
    """Say in what an intent is not what a call asked for; "": in nothing."""
    if call.stripe_id and call.stripe_id != intent["id"]:
        return f"{call} made {call.stripe_id} before"
    asked = call.params
    told = {name: (asked[name], intent.get(name)) for name in ("amount", "currency", "customer")}
    if not call.stripe_id:
        told["invoice"] = (asked["metadata"]["invoice"], intent["metadata"].get("invoice"))
    if intent["status"] == "succeeded":
        told["amount received"] = (asked["amount"], intent["amount_received"])
    differing = [f"{name} {now}, not {then}" for name, (then, now) in told.items() if now != then]
    return "; ".join(differing)


def _take(attempt: PaymentAttempt, intent: Json, by: User, at: datetime) -> None:
    """Let an attempt follow its intent; success is final, whatever is heard after it."""
    status = intent["status"]
    if status == "succeeded":
        _receive(attempt, intent, by, at)
        if attempt.state != AttemptState.SUCCEEDED:
            _close(attempt, AttemptState.SUCCEEDED, "", at, None)
    elif attempt.state == AttemptState.OPEN and status not in _WAITING:
        _decline(attempt, intent, at)


def _receive(attempt: PaymentAttempt, intent: Json, by: User, at: datetime) -> None:
    """Record the money, and the fee as soon as Stripe tells it."""
    currency = attempt.currency
    receipt = record_receipt(
        invoice=attempt.invoice, amount_minor=from_stripe(intent["amount_received"], currency),
        method=METHOD, reference=intent["id"], paid_at=_made_at(intent, at), by=by, at=at,
    )  # fmt: skip
    charge = intent.get("latest_charge")
    moved = charge.get("balance_transaction") if isinstance(charge, dict) else None
    source = receipt.payment or receipt.overpayment
    if isinstance(moved, dict) and source is not None:
        settled_in = moved["currency"].upper()
        record_fee(
            source=source, amount_minor=from_stripe(moved["fee"], settled_in),
            currency=settled_in, charged_at=_made_at(moved, at), reference=moved["id"],
            by=by, at=at,
        )  # fmt: skip


def _decline(attempt: PaymentAttempt, intent: Json, at: datetime) -> None:
    error = intent.get("last_payment_error") or {}
    code = error.get("decline_code") or error.get("code") or intent["status"]
    declined = attempt.invoice.attempts.filter(state=AttemptState.DECLINED).count() + 1
    retry_at = next_try(declined, code, settings.DUNNING_DAYS, at)
    _close(attempt, AttemptState.DECLINED, code, at, retry_at)


def _close(
    attempt: PaymentAttempt, state: str, code: str, at: datetime, retry_at: datetime | None
) -> None:
    attempt.state, attempt.failure_code = state, code[:60]
    attempt.closed_at, attempt.retry_at = at, retry_at
    attempt.save(update_fields=["state", "failure_code", "closed_at", "retry_at"])


def _made_at(thing: Json, at: datetime) -> datetime:
    """Return when Stripe made something; its clock may be ahead of ours, ours decides."""
    return min(datetime.fromtimestamp(thing["created"], UTC), at)
