"""Take what Stripe tells us: a hint about an object, which is fetched and takes effect, once.

An event is stored in the transaction of its effect and unique by Stripe's own id: replayed,
doubled or reordered, it changes nothing more. Its content is not believed, nor needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import IntegrityError, transaction

from billing_project.kernel.errors import BillingError, Invalid
from billing_project.kernel.models import User
from invoicing.models import ParkReason, StripeCustomer, StripeEvent
from invoicing.stripe_sync.collecting import attempt_of_intent, take_intent
from invoicing.stripe_sync.customers import drop_card, take_session
from invoicing.stripe_sync.disputing import take_dispute
from invoicing.stripe_sync.gateway import Json, NotThere, Unreachable, fetch
from invoicing.stripe_sync.parking import Elsewhere, keep_aside, refuse_elsewhere
from invoicing.stripe_sync.refunding import take_refund

_LONGEST = 100
_REASONS = {NotThere.code: ParkReason.UNKNOWN_OBJECT, Elsewhere.code: ParkReason.ELSEWHERE}
Take = Callable[[Json, User, datetime], str]


@dataclass(frozen=True)
class Hint:
    """Which object an event is about, and what takes it; the list that it is fetched from."""

    list_name: str
    object_id: str
    take: Take


def receive(*, event: Json, by: User, at: datetime) -> bool:
    """Let an event of a genuine webhook take effect; False where it did before, or cannot.

    What cannot take effect is kept aside, for who answers for it. Call it outside a transaction: it
    waits for Stripe.

    Raises:
        Invalid: it is no event.
        Unreachable: Stripe does not tell the object now, or does not know it yet; the event comes
            again.
    """
    row = _row(event, at)
    if StripeEvent.objects.filter(stripe_id=row.stripe_id).exists():
        return False
    hint = _hint(row.type, event["data"]["object"])
    try:
        if hint is not None:
            refuse_elsewhere(event)
        return _take_effect(row, hint, by, at)
    except Unreachable:
        raise
    except BillingError as error:
        about = hint.object_id if hint is not None else ""
        reason = _REASONS.get(error.code, ParkReason.DOES_NOT_FIT)
        detail = str(error)
        if keep_aside(event=row, object_id=about, reason=reason, detail=detail, at=at):
            return False
        raise Unreachable(detail) from error


def _take_effect(row: StripeEvent, hint: Hint | None, by: User, at: datetime) -> bool:
    """Fetch what an event is about, and store the event with what comes of it."""
    found = fetch(hint.list_name, hint.object_id) if hint is not None else None
    unheard = _unheard_intent(found) if found is not None else None
    try:
        with transaction.atomic():
            if unheard is not None:
                take_intent(intent=unheard, by=by, at=at)
            effect = hint.take(found, by, at) if hint and found is not None else "not for us"
            row.effect = effect[:_LONGEST]
            row.save(force_insert=True)
    except IntegrityError:
        if StripeEvent.objects.filter(stripe_id=row.stripe_id).exists():
            return False  # The same event at the same time; all of ours is undone.
        raise
    return True


def _row(event: Json, at: datetime) -> StripeEvent:
    try:
        words = (event["id"], event["type"], event["data"]["object"].get("id") or "")
        made_at = datetime.fromtimestamp(int(event["created"]), UTC)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise Invalid("this is no event of Stripe") from error
    if not all(isinstance(word, str) and len(word) <= _LONGEST for word in words) or not words[0]:
        raise Invalid("this is no event of Stripe")
    return StripeEvent(
        stripe_id=words[0], type=words[1], object_id=words[2], made_at=made_at, received_at=at
    )


def _hint(type_: str, told: Json) -> Hint | None:
    """Return what to fetch for an event; None where it does not concern us."""
    pk = str(told.get("id") or "")
    if type_.startswith("payment_intent."):
        return Hint("payment_intents", pk, _take_intent)
    if type_.startswith("charge.dispute."):
        return Hint("disputes", pk, _take_dispute)
    if type_.startswith(("refund.", "charge.refund.")):
        return Hint("refunds", pk, _take_refund)
    if type_.startswith("charge."):
        intent = told.get("payment_intent")
        is_ours = isinstance(intent, str) and bool(intent)
        return Hint("payment_intents", str(intent), _take_intent) if is_ours else None
    if type_.startswith("checkout.session."):
        return Hint("checkout/sessions", pk, _take_session)
    if type_ == "payment_method.detached":
        return Hint("payment_methods", pk, _take_method)
    return None


def _unheard_intent(found: Json) -> Json | None:
    """Return the intent behind a dispute that is heard of before its charge is.

    Stripe does not say things in their order: the charge's own event, or the answer to the call
    that made it, may still be on its way.
    """
    intent = found.get("payment_intent") if found.get("object") == "dispute" else None
    if not isinstance(intent, str) or attempt_of_intent(intent) is not None:
        return None
    return fetch("payment_intents", intent)


def _take_intent(found: Json, by: User, at: datetime) -> str:
    return take_intent(intent=found, by=by, at=at)


def _take_dispute(found: Json, by: User, at: datetime) -> str:
    return take_dispute(dispute=found, by=by, at=at)


def _take_refund(found: Json, by: User, at: datetime) -> str:
    return take_refund(made=found, by=by, at=at)


def _take_session(found: Json, by: User, at: datetime) -> str:
    return take_session(session=found, by=by, at=at)


def _take_method(found: Json, by: User, at: datetime) -> str:
    row = StripeCustomer.objects.filter(payment_method=found["id"]).first()
    if row is None or found.get("customer"):
        return "not the card in use"
    return drop_card(stripe_customer=row, method=found["id"], by=by, at=at)
