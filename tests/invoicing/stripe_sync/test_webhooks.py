"""Webhooks are hints: genuine ones take effect once, in any order; all others change nothing."""

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from functools import cache
from itertools import permutations

import pytest
from django.db import transaction
from pytest_django import Settings

from invoicing.models import (
    AttemptState,
    CallState,
    Dispute,
    Invoice,
    Payment,
    PaymentAttempt,
    StripeEvent,
)
from invoicing.stripe_sync import events, gateway
from invoicing.stripe_sync.signature import is_genuine
from tests.fakes.stripe.server import SECRET
from tests.fakes.stripe.webhooks import signature
from tests.invoicing.builders import issued
from tests.invoicing.stripe_sync.till import Till

CHARGES = "POST /v1/payment_intents"


def _lost(till: Till) -> Invoice:
    """Return an invoice whose charge succeeded, unknown to us."""
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    till.fake.faults({"fault": "lost_answer", "calls": CHARGES, "times": 1})
    till.collect()
    return invoice


def test_a_webhook_settles_a_charge_whose_answer_was_lost(till: Till) -> None:
    invoice = _lost(till)
    deliveries = till.news()

    statuses = {till.deliver(one) for one in deliveries for _ in range(10)}

    invoice.refresh_from_db()
    assert statuses == {200}
    assert (invoice.status, Payment.objects.count()) == ("paid", 1)
    assert StripeEvent.objects.filter(object_id=till.call_of(invoice).stripe_id).exists()
    assert till.call_of(invoice).state == CallState.DONE
    ids = [json.loads(one["body"])["id"] for one in deliveries]
    assert StripeEvent.objects.filter(stripe_id__in=ids).count() == len(ids)


ORDERS = list(permutations(range(6)))
DISPUTE_FIRST = (2, 3, 4, 5, 0, 1)  # All of the dispute is heard of before its charge is.


@pytest.mark.parametrize(
    "orders",
    [[*ORDERS[::90], DISPUTE_FIRST], pytest.param(ORDERS, marks=pytest.mark.long)],
    ids=["some", "all"],
)
def test_events_take_effect_in_any_order(
    till: Till, monkeypatch: pytest.MonkeyPatch, orders: list[tuple[int, ...]]
) -> None:
    invoice = _lost(till)
    intent = till.intents({"customer": till.call_of(invoice).params["customer"]})[0]
    dispute = till.fake.tell("open_dispute", charge=intent["latest_charge"])
    till.fake.tell("close_dispute", dispute=dispute["id"], status="won")
    told = [json.loads(one["body"]) for one in till.news()]
    six = [event for event in told if event["type"] != "payment_intent.created"]
    assert [event["type"] for event in six] == [
        "charge.succeeded", "payment_intent.succeeded", "charge.dispute.created",
        "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]  # fmt: skip
    monkeypatch.setattr(events, "fetch", cache(gateway.fetch))  # Nothing changes there meanwhile.

    ends = set()
    for order in orders:
        with transaction.atomic():
            for number in order:
                assert till.take(six[number])
            invoice.refresh_from_db()
            state = PaymentAttempt.objects.get().state
            verdict = Dispute.objects.get().outcome.verdict if Dispute.objects.exists() else ""
            ends.add((invoice.status, state, Payment.objects.count(), verdict))
            transaction.set_rollback(True)

    assert ends == {("paid", AttemptState.SUCCEEDED, 1, "won")}


def test_a_stale_decline_does_not_undo_a_success(till: Till) -> None:
    customer = till.customer()
    till.fake.tell("decline", payment_method=till.card_of(customer), codes=["card_declined"])
    invoice = issued(till.shop, customer, 10_000)
    till.collect()
    intent = till.call_of(invoice).stripe_id
    till.fake.tell("settle", payment_intent=intent)  # The bank changed its mind.
    late, *rest = reversed(till.news())

    for delivery in (late, *rest):
        assert till.deliver(delivery) == 200

    invoice.refresh_from_db()
    assert invoice.status == "paid"
    assert PaymentAttempt.objects.get().state == AttemptState.SUCCEEDED


def test_forged_old_altered_and_unsigned_deliveries_leave_nothing(till: Till) -> None:
    invoice = _lost(till)
    delivery = next(one for one in till.news() if "payment_intent.succeeded" in one["body"])
    body, now = delivery["body"].encode(), int(time.time())
    before = StripeEvent.objects.count()
    refused = [
        till.deliver(delivery, header)
        for header in (
            signature(body, "whsec_other", now), signature(body, SECRET, now - 400),
            signature(body, SECRET, now + 400), signature(body + b" ", SECRET, now),
            signature(body, SECRET, now).replace("v1=", "v0="), "", "t=,v1=", "v1=00",
            f"t={now},t={now},v1=00", f"t={now},v1=ü", "t=" + "9" * 400 + ",v1=00",
        )
    ]  # fmt: skip
    again = json.dumps(json.loads(delivery["body"]))  # The same content, written otherwise.
    refused.append(till.deliver({"body": again, "signature": delivery["signature"]}))

    invoice.refresh_from_db()
    assert set(refused) == {400}
    assert (invoice.status, StripeEvent.objects.count()) == ("finalized", before)


@pytest.mark.parametrize("body", ["{}", "[]", "null", "x", '{"id": 1, "type": "a", "data": {}}'])
def test_what_is_signed_but_no_event_is_refused(till: Till, body: str) -> None:
    header = signature(body.encode(), SECRET, int(time.time()))

    assert till.deliver({"body": body, "signature": header}) == 400


def test_an_event_whose_object_cannot_be_fetched_comes_again(till: Till) -> None:
    invoice = _lost(till)
    delivery = next(one for one in till.news() if "payment_intent.succeeded" in one["body"])
    till.fake.faults({"fault": "unavailable", "calls": "GET /v1/", "times": 1})

    assert [till.deliver(delivery), till.deliver(delivery)] == [503, 200]
    invoice.refresh_from_db()
    assert invoice.status == "paid"


def test_while_secrets_rotate_both_are_taken(till: Till, settings: Settings) -> None:
    till.customer()
    delivery = till.fake.tell("deliveries")[-1]
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", SECRET]
    assert till.deliver(delivery) == 200
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new"]
    assert till.deliver(delivery) == 400
    settings.STRIPE_WEBHOOK_SECRETS = []
    assert till.deliver(delivery) == 400


@pytest.mark.parametrize(
    ("seconds", "is_taken"), [(0, True), (300, True), (301, False), (-300, True), (-301, False)]
)
def test_a_signature_is_good_for_five_minutes(seconds: int, is_taken: bool) -> None:
    at, body = datetime(2026, 11, 30, tzinfo=UTC), b'{"id": "evt_1"}'
    signed_at = int(at.timestamp()) + seconds
    mark = hmac.new(b"whsec_1", f"{signed_at}.".encode() + body, hashlib.sha256).hexdigest()

    assert is_genuine(body, f"t={signed_at},v1=00,v1={mark}", ["whsec_1"], at) is is_taken
    assert not is_genuine(body, f"t={signed_at},v1={mark}", [""], at)
