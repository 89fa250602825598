"""The fake keeps Stripe's own rules, and answers in the shapes that the real SDK promises."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from stripe import StripeClient

from tests.fakes.stripe.running import Fake, running_fake
from tests.fakes.stripe.server import SECRET

CARD, DECLINED = "4242424242424242", "4000000000000341"


@pytest.fixture(scope="module")
def process() -> Iterator[Fake]:
    """Start one fake for all tests here."""
    with running_fake() as running:
        yield running


@pytest.fixture
def fake(process: Fake) -> Fake:
    """Return the fake, with nothing that goes wrong."""
    process.faults()
    return process


@pytest.fixture
def client(fake: Fake) -> StripeClient:
    """Return the real SDK, pointed at the fake."""
    return StripeClient("sk_test_fake", base_addresses={"api": fake.url})


def _customer(client: StripeClient, fake: Fake, number: str = CARD) -> tuple[str, str]:
    """Return a customer and their card, typed into the hosted page."""
    customer = client.v1.customers.create({"name": "Acme", "metadata": {"ours": "1"}})
    session = client.v1.checkout.sessions.create(
        {"mode": "setup", "customer": customer.id, "currency": "usd",
         "success_url": "http://127.0.0.1/done"}
    )  # fmt: skip
    fake.tell("complete_session", session=session.id, card=number)
    done = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent"]})
    assert isinstance(done.setup_intent, stripe.SetupIntent)
    return customer.id, str(done.setup_intent.payment_method)


def _intent(customer: str, method: str, **changes: Any) -> Any:
    return {
        "amount": 10_000, "currency": "usd", "customer": customer, "payment_method": method,
        "confirm": True, "off_session": True, "expand": ["latest_charge.balance_transaction"],
        **changes,
    }  # fmt: skip


def _paid(client: StripeClient, fake: Fake, key: str, **changes: Any) -> stripe.PaymentIntent:
    customer, method = _customer(client, fake)
    return client.v1.payment_intents.create(
        _intent(customer, method, **changes), {"idempotency_key": key}
    )


def _is_replayed(answer: stripe.StripeObject) -> bool:
    response = answer.last_response
    assert response is not None
    return response.headers.get("Idempotent-Replayed") == "true"


def _charge(intent: stripe.PaymentIntent) -> stripe.Charge:
    assert isinstance(intent.latest_charge, stripe.Charge)
    return intent.latest_charge


def test_every_answer_has_the_fields_of_its_type(client: StripeClient, fake: Fake) -> None:
    intent = _paid(client, fake, "shapes")
    refund = client.v1.refunds.create({"charge": _charge(intent).id, "amount": 100})
    fake.tell("open_dispute", charge=_charge(_paid(client, fake, "shapes-2")).id)
    fake.tell("pay_out")
    meter = client.v1.billing.meters.create(
        {"display_name": "T", "event_name": "shapes", "default_aggregation": {"formula": "sum"}}
    )
    event = client.v1.billing.meter_events.create(
        {"event_name": "shapes", "payload": {"stripe_customer_id": "cus_1", "value": "1"}}
    )
    grant = client.v1.billing.credit_grants.create(
        {"customer": str(intent.customer), "category": "paid", "name": "Pack",
         "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 1}},
         "applicability_config": {"scope": {"price_type": "metered"}}}
    )  # fmt: skip
    v1 = client.v1
    answers = [
        intent, refund, meter, event, grant, _charge(intent), _charge(intent).balance_transaction,
        v1.customers.retrieve(str(intent.customer)), v1.disputes.list().data[0],
        v1.payment_methods.retrieve(str(intent.payment_method)), v1.payouts.list().data[0],
        v1.checkout.sessions.list().data[0], v1.events.list().data[0],
    ]  # fmt: skip

    assert [_misfits(answer) for answer in answers] == [set()] * len(answers)


def _misfits(answer: Any) -> set[str]:
    """Return fields that the SDK's type has and the answer lacks, or the other way round."""
    typed = {
        name: str(kind)
        for base in type(answer).__mro__
        for name, kind in getattr(base, "__annotations__", {}).items()
        if not name.startswith("_") and "ClassVar" not in str(kind)
    }
    needed = {name for name, kind in typed.items() if "Optional" not in kind}
    said = set(answer.to_dict())
    return (needed - said) | (said - set(typed))


def test_the_same_key_and_parameters_answer_again(client: StripeClient, fake: Fake) -> None:
    customer, method = _customer(client, fake)
    before = fake.count("/v1/payment_intents")

    first, again = (
        client.v1.payment_intents.create(_intent(customer, method), {"idempotency_key": "again"})
        for _ in range(2)
    )

    assert first.id == again.id
    assert fake.count("/v1/payment_intents") == before + 1
    assert (_is_replayed(first), _is_replayed(again)) == (False, True)


def test_the_same_key_with_other_parameters_is_refused(client: StripeClient, fake: Fake) -> None:
    customer, method = _customer(client, fake)
    client.v1.payment_intents.create(_intent(customer, method), {"idempotency_key": "other"})

    with pytest.raises(stripe.IdempotencyError):
        client.v1.payment_intents.create(
            _intent(customer, method, amount=1), {"idempotency_key": "other"}
        )


def test_a_key_lives_for_a_day(client: StripeClient, fake: Fake) -> None:
    first = client.v1.customers.create({"name": "A"}, {"idempotency_key": "day"})

    fake.tell("move_clock", seconds=24 * 3600)
    second = client.v1.customers.create({"name": "A"}, {"idempotency_key": "day"})

    assert first.id != second.id


def test_a_stored_500_is_replayed_though_the_charge_was_made(
    client: StripeClient, fake: Fake
) -> None:
    customer, method = _customer(client, fake)
    fake.faults({"fault": "error_after", "calls": "POST /v1/payment_intents", "times": 1})
    errors = []
    for _ in range(2):
        with pytest.raises(stripe.APIError) as raised:
            client.v1.payment_intents.create(
                _intent(customer, method), {"idempotency_key": "stored-500"}
            )
        errors.append((raised.value.headers or {}).get("Idempotent-Replayed"))

    assert errors == [None, "true"]
    assert len(client.v1.payment_intents.list({"customer": customer}).data) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [("too_many", stripe.RateLimitError), ("unavailable", stripe.APIError),
     ("in_use", stripe.APIError), ("lost_request", stripe.APIConnectionError)],
)  # fmt: skip
def test_what_never_began_is_not_kept(
    client: StripeClient, fake: Fake, fault: str, error: type[Exception]
) -> None:
    fake.faults({"fault": fault, "times": 1})
    with pytest.raises(error):
        client.v1.customers.create({"name": "B"}, {"idempotency_key": f"begun-{fault}"})

    made = client.v1.customers.create({"name": "B"}, {"idempotency_key": f"begun-{fault}"})

    assert not _is_replayed(made)


def test_a_lost_answer_leaves_the_charge_and_the_key(client: StripeClient, fake: Fake) -> None:
    customer, method = _customer(client, fake)
    fake.faults({"fault": "lost_answer", "calls": "POST /v1/payment_intents", "times": 1})
    with pytest.raises(stripe.APIConnectionError):
        client.v1.payment_intents.create(_intent(customer, method), {"idempotency_key": "lost"})

    again = client.v1.payment_intents.create(_intent(customer, method), {"idempotency_key": "lost"})

    assert _is_replayed(again)
    assert [one.id for one in client.v1.payment_intents.list({"customer": customer}).data] == [
        again.id
    ]


def test_a_declined_card_is_kept_under_its_key(client: StripeClient, fake: Fake) -> None:
    customer, method = _customer(client, fake, DECLINED)
    for _ in range(2):
        with pytest.raises(stripe.CardError) as raised:
            client.v1.payment_intents.create(
                _intent(customer, method), {"idempotency_key": "declined"}
            )

    assert raised.value.code == "card_declined"
    assert len(client.v1.payment_intents.list({"customer": customer}).data) == 1


def test_the_same_meter_event_is_a_400_that_nobody_should_retry(
    client: StripeClient, fake: Fake
) -> None:
    client.v1.billing.meters.create(
        {"display_name": "T", "event_name": "tokens", "default_aggregation": {"formula": "sum"}}
    )
    event: Any = {"event_name": "tokens", "identifier": "e1",
                  "payload": {"stripe_customer_id": "cus_1", "value": "25"}}  # fmt: skip
    client.v1.billing.meter_events.create(event)

    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier e1") as e:
        client.v1.billing.meter_events.create(event)

    assert (e.value.headers or {})["Stripe-Should-Retry"] == "false"


def test_fees_and_disputes_move_the_balance(client: StripeClient, fake: Fake) -> None:
    charge = _charge(_paid(client, fake, "moves"))
    dispute = fake.tell("open_dispute", charge=charge.id, reason="fraudulent")

    moves = {move.type: (move.amount, move.fee) for move in
             client.v1.balance_transactions.list({"source": charge.id}).data}  # fmt: skip
    taken = client.v1.balance_transactions.list({"source": dispute["id"]}).data[0]

    assert moves == {"charge": (10_000, 320)}  # 2.9 % of 100.00, and 0.30.
    assert (taken.amount, taken.fee) == (-10_000, 1_500)
    with pytest.raises(stripe.InvalidRequestError, match="charged back"):
        client.v1.refunds.create({"charge": charge.id})


def test_no_more_is_refunded_than_was_charged(client: StripeClient, fake: Fake) -> None:
    charge = _charge(_paid(client, fake, "refunds"))
    client.v1.refunds.create({"charge": charge.id, "amount": 9_999})

    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        client.v1.refunds.create({"charge": charge.id, "amount": 2})


def test_lists_are_paged_by_the_sdk_itself(client: StripeClient, fake: Fake) -> None:
    customer, method = _customer(client, fake)
    for _ in range(7):
        client.v1.payment_intents.create(_intent(customer, method))

    pages = client.v1.payment_intents.list({"customer": customer, "limit": 3})

    assert len(list(pages.auto_paging_iter())) == 7


def test_events_are_signed_as_the_sdk_checks_it(client: StripeClient, fake: Fake) -> None:
    client.v1.customers.create({"name": "C"})
    delivery = fake.tell("deliveries")[-1]
    fake.tell("move_clock", seconds=0)

    body, header = delivery["body"], delivery["signature"]
    event = stripe.Webhook.construct_event(body, header, SECRET, tolerance=10**9)

    assert event.type == "customer.created"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(json.dumps(json.loads(body)), header, SECRET, 10**9)
