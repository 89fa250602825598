"""Make a hosted page at Stripe for a customer, now; the customer is made there first if need be."""

from datetime import datetime

from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from invoicing.stripe_sync.customers import ask_for_card, ask_for_customer
from invoicing.stripe_sync.gateway import Outcome, Unreachable, is_on
from invoicing.stripe_sync.sending import send
from metering.models import Customer


def card_page(*, customer: Customer, by: User, at: datetime) -> str:
    """Return the address of a page where the customer types a card; it lives for a day.

    Call it outside a transaction: it waits for Stripe.

    Raises:
        NotAllowed: a person without the permission.
        Conflict: Stripe is not configured.
        Unreachable: Stripe did not answer; nothing is lost by asking again.
    """
    if not is_on():
        raise Conflict("no key to Stripe is configured", code="stripe_off")
    made = ask_for_customer(customer=customer, by=by, at=at)
    if made is not None:
        send(made.pk, by=by, at=at, is_awaited=True)
    try:
        asked = ask_for_card(customer=customer, by=by, at=at)
    except Conflict as error:
        raise Unreachable("Stripe did not make the customer yet") from error
    answer = send(asked.pk, by=by, at=at, is_awaited=True)
    if answer is None or answer.outcome is not Outcome.DONE:
        raise Unreachable("Stripe did not make the page")
    return str(answer.object["url"])
