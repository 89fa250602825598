"""What tests do with a shop that collects through the fake Stripe."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import stripe
from django.test import Client

from invoicing.models import CallKind, Invoice, StripeCall, StripeCustomer
from invoicing.stripe_sync.collecting import open_attempts
from invoicing.stripe_sync.customers import ask_for_card, ask_for_customer
from invoicing.stripe_sync.events import receive
from invoicing.stripe_sync.refunding import open_refunds
from invoicing.stripe_sync.sending import send, send_due
from metering.models import Customer
from tests.fakes.stripe.running import Fake
from tests.invoicing.builders import Shop, customer_of

GOOD, BAD = "4242424242424242", "4000000000000341"


def real_now() -> datetime:
    """Return the present: the fake lives in real time."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Till:
    """A shop and its Stripe; `at` moves when a test says so."""

    shop: Shop
    fake: Fake
    at: datetime = field(default_factory=real_now)
    heard: int = 0

    def __post_init__(self) -> None:
        """Leave out what earlier tests made happen."""
        self.heard = len(self.fake.tell("deliveries"))

    def customer(self, external_id: str = "acme", card: str = GOOD, **changes: Any) -> Customer:
        """Return a customer who typed a card into the hosted page."""
        customer = customer_of(self.shop, external_id, **changes)
        call = ask_for_customer(customer=customer, by=self.shop.worker, at=self.at)
        assert call is not None
        send(call.pk, by=self.shop.worker, at=self.at)
        self.new_card(customer, card)
        return customer

    def new_card(self, customer: Customer, card: str = GOOD) -> None:
        """Let a customer type a card, and hear of it."""
        asked = ask_for_card(customer=customer, by=self.shop.worker, at=self.at)
        answer = send(asked.pk, by=self.shop.worker, at=self.at)
        assert answer is not None
        self.fake.tell("complete_session", session=answer.object["id"], card=card)
        self.hear()

    def card_of(self, customer: Customer) -> str:
        """Return the payment method that is charged."""
        return StripeCustomer.objects.get(customer=customer).payment_method

    def collect(self, after: timedelta = timedelta(0)) -> int:
        """Run the collecting task once, so much later."""
        self.at += after
        open_attempts(by=self.shop.worker, at=self.at)
        open_refunds(by=self.shop.worker, at=self.at)
        return send_due(by=self.shop.worker, now=lambda: self.at)

    def hear(self) -> list[bool]:
        """Take the events that happened since last time, in their order."""
        return [self.take(json.loads(one["body"])) for one in self.news()]

    def news(self) -> list[dict[str, str]]:
        """Return deliveries of what happened since last time."""
        all_: list[dict[str, str]] = self.fake.tell("deliveries")
        new, self.heard = all_[self.heard :], len(all_)
        return new

    def take(self, event: dict[str, Any]) -> bool:
        """Take one event."""
        return receive(event=event, by=self.shop.worker, at=self.at)

    def deliver(self, delivery: dict[str, str], signature: str | None = None) -> int:
        """Post a delivery to the webhook; return the status."""
        answer = Client().post(
            "/stripe/webhook", delivery["body"], content_type="application/json",
            headers={"Stripe-Signature": delivery["signature"] if signature is None else signature},
        )  # fmt: skip
        return answer.status_code

    def charges(self, customer: Customer) -> list[dict[str, Any]]:
        """Return what Stripe really charged a customer: intents that succeeded."""
        row = StripeCustomer.objects.get(customer=customer)
        return [
            one for one in self.intents({"customer": row.stripe_id}) if one["status"] == "succeeded"
        ]

    def intents(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """Return payment intents, read past our own gateway."""
        words: Any = {**query, "limit": 100}
        pages = self._sdk().v1.payment_intents.list(words)
        return [one.to_dict() for one in pages.auto_paging_iter()]

    def pay_elsewhere(self, customer: str, method: str) -> str:
        """Charge a card past our own calls, as somebody at Stripe's dashboard does."""
        intent = self._sdk().v1.payment_intents.create(
            {"amount": 7_700, "currency": "usd", "customer": customer, "confirm": True,
             "payment_method": method}
        )  # fmt: skip
        return intent.id

    def _sdk(self) -> stripe.StripeClient:
        return stripe.StripeClient("sk_test_fake", base_addresses={"api": self.fake.url})

    def call_of(self, invoice: Invoice) -> StripeCall:
        """Return the newest payment call of an invoice."""
        calls = StripeCall.objects.filter(kind=CallKind.PAYMENT, subject=f"invoice:{invoice.pk}")
        return calls.latest("generation")
