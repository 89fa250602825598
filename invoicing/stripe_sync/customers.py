"""Customers at Stripe, and the card that each lets us charge: typed into a page of Stripe's own."""

from datetime import UTC, datetime

from django.conf import settings
from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from invoicing.models import CallKind, StripeCall, StripeCustomer
from invoicing.services.locks import require_permission
from invoicing.stripe_sync.calls import OPEN, write_call
from invoicing.stripe_sync.gateway import Json
from metering.models import Customer
from metering.services.customers import lock_customer


@transaction.atomic
def ask_for_customer(*, customer: Customer, by: User, at: datetime) -> StripeCall | None:
    """Write the call that makes a customer at Stripe; None where there is one."""
    require_permission(by, "invoicing.record_payment", "ask customers for payment methods")
    locked = lock_customer(customer.pk)
    if StripeCustomer.objects.filter(customer=locked).exists():
        return None
    subject = f"customer:{locked.pk}"
    before = StripeCall.objects.filter(kind=CallKind.CUSTOMER, subject=subject, state__in=OPEN)
    if (call := before.first()) is not None:
        return call
    params: Json = {"name": locked.name, "metadata": {"external_id": locked.external_id}}
    if locked.email:
        params["email"] = locked.email
    return write_call(
        kind=CallKind.CUSTOMER, subject=subject, customer_id=locked.pk, params=params, at=at
    )


def take_customer(call: StripeCall, found: Json, by: User, at: datetime) -> None:
    """Keep the name that Stripe gave a customer."""
    assert call.customer_id is not None, "stripe_call_has_customer"
    row = StripeCustomer.objects.create(
        customer_id=call.customer_id, stripe_id=found["id"], created_at=at
    )
    audit.record(by=by, at=at, action="take_stripe_customer", subject=row)


@transaction.atomic
def ask_for_card(*, customer: Customer, by: User, at: datetime) -> StripeCall:
    """Write the call that opens a hosted page where the customer types their card.

    Raises:
        Conflict: the customer is not known at Stripe yet.
    """
    require_permission(by, "invoicing.record_payment", "ask customers for payment methods")
    locked = lock_customer(customer.pk)
    row = StripeCustomer.objects.filter(customer=locked).first()
    if row is None:
        raise Conflict(f"{locked} is not known at Stripe yet")
    back = settings.STRIPE_RETURN_URL
    params: Json = {
        "mode": "setup", "customer": row.stripe_id, "currency": locked.currency.lower(),
        "success_url": back, "cancel_url": back,
    }  # fmt: skip
    subject = f"customer:{locked.pk}:{int(at.timestamp())}"  # A page lives for a day: each is new.
    before = StripeCall.objects.filter(kind=CallKind.SETUP, subject=subject, state__in=OPEN)
    return before.first() or write_call(
        kind=CallKind.SETUP, subject=subject, customer_id=locked.pk, params=params, at=at
    )


@transaction.atomic
def take_session(*, session: Json, by: User, at: datetime) -> str:
    """Let the card of a completed page be the one that is charged from now on; say what came.

    Of two pages the one that was completed last counts, in whatever order they are heard of.
    """
    intent = session.get("setup_intent")
    if session["status"] != "complete" or not isinstance(intent, dict):
        return "not complete"
    row = StripeCustomer.objects.filter(stripe_id=session["customer"] or "").first()
    if row is None:
        return "of nobody here"
    lock_customer(row.customer_id)
    row.refresh_from_db()
    made_at = datetime.fromtimestamp(intent["created"], UTC)
    method = intent.get("payment_method") or ""
    if intent["status"] != "succeeded" or not method or method == row.payment_method:
        return "nothing new"
    if row.payment_method_at is not None and made_at < row.payment_method_at:
        return "older than the card in use"
    row.payment_method, row.payment_method_at = method, made_at
    row.save(update_fields=["payment_method", "payment_method_at"])
    audit.record(by=by, at=at, action="take_payment_method", subject=row)
    return "card in use"


@transaction.atomic
def drop_card(*, stripe_customer: StripeCustomer, method: str, by: User, at: datetime) -> str:
    """Charge a card no more that was detached at Stripe, or that Stripe does not know."""
    lock_customer(stripe_customer.customer_id)
    stripe_customer.refresh_from_db()
    if stripe_customer.payment_method != method:
        return "not the card in use"
    stripe_customer.payment_method, stripe_customer.payment_method_at = "", at
    stripe_customer.save(update_fields=["payment_method", "payment_method_at"])
    audit.record(by=by, at=at, action="drop_payment_method", subject=stripe_customer)
    return "card dropped"
