"""Invoices are collected once, whatever is lost between us and Stripe."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from billing_project.kernel.users import worker_user
from credits.models import CreditGrant
from invoicing.models import (
    AttemptState,
    CallKind,
    CallState,
    CustomerBalance,
    Invoice,
    PaymentAttempt,
    ProcessorFee,
    StripeCustomer,
)
from invoicing.services.payments import record_payment
from invoicing.stripe_sync.calls import write_call
from invoicing.stripe_sync.sending import send
from tests.invoicing.builders import issued, paid, sold_pack
from tests.invoicing.stripe_sync.till import BAD, Till

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
CHARGES = "POST /v1/payment_intents"


def _state(invoice: Invoice) -> tuple[str, int]:
    invoice.refresh_from_db()
    return invoice.status, invoice.open_minor


def test_an_issued_invoice_is_charged_and_its_fee_is_known(till: Till) -> None:
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)

    assert till.collect() == 1
    assert till.collect(MINUTE) == 0

    assert _state(invoice) == ("paid", 0)
    [charge] = till.charges(customer)
    assert (charge["amount"], charge["description"]) == (10_000, f"Invoice {invoice.number}")
    payment = invoice.payments.get()
    assert (payment.method, payment.reference) == ("stripe", charge["id"])
    assert payment.fees.get().amount_minor == 320  # 2.9 % of 100.00, and 0.30.


def test_a_pack_gives_its_credits_with_the_payment(till: Till) -> None:
    customer = till.customer()
    sold_pack(till.shop, customer, 9_000)
    assert not CreditGrant.objects.filter(customer=customer).exists()

    till.collect()

    assert CreditGrant.objects.get(customer=customer).remaining == 100


@pytest.mark.parametrize(
    "fault", ["lost_answer", "lost_request", "too_many", "unavailable", "in_use", "error",
              "error_after"],
)  # fmt: skip
def test_whatever_is_lost_an_invoice_is_charged_once(till: Till, fault: str) -> None:
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    till.fake.faults({"fault": fault, "calls": CHARGES, "times": 1})
    till.collect()
    assert _state(invoice) == ("finalized", 10_000)
    assert till.call_of(invoice).state == CallState.UNKNOWN

    for _ in range(4):
        till.collect(5 * MINUTE)

    assert _state(invoice) == ("paid", 0)
    assert len(till.charges(customer)) == 1


def test_a_call_is_not_sent_again_before_its_time(till: Till) -> None:
    customer = till.customer()
    issued(till.shop, customer, 10_000)
    till.fake.faults({"fault": "lost_request", "calls": CHARGES})
    till.collect()

    till.fake.faults()
    assert till.collect(timedelta(seconds=29)) == 0
    assert till.collect(timedelta(seconds=10)) == 1  # 30 s, and a jitter below 7 s.


def test_after_a_day_a_lost_charge_is_looked_for_and_never_made_again(till: Till) -> None:
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    till.fake.faults({"fault": "lost_answer", "calls": CHARGES, "times": 1})
    till.collect()
    before = till.fake.count("/v1/payment_intents")

    till.collect(DAY)

    assert _state(invoice) == ("paid", 0)
    assert till.fake.count("/v1/payment_intents") == before


def test_after_a_day_what_never_arrived_is_asked_for_anew(till: Till) -> None:
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    till.fake.faults({"fault": "lost_request", "calls": CHARGES, "times": 1})
    till.collect()

    till.collect(DAY)
    first = PaymentAttempt.objects.get(invoice=invoice)
    assert (first.state, first.call.state) == (AttemptState.NOT_MADE, CallState.FAILED)
    till.collect(MINUTE)

    assert _state(invoice) == ("paid", 0)
    assert [a.number for a in invoice.attempts.order_by("number")] == [1, 2]


def test_a_replayed_error_is_not_looped(till: Till) -> None:
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    till.fake.faults({"fault": "error", "calls": CHARGES, "times": 1})
    till.collect()

    till.collect(MINUTE)

    call = invoice.attempts.get().call
    assert (call.state, call.attempt_count, call.error_code) == (CallState.FAILED, 2, "not_made")


def test_a_decline_is_retried_by_the_schedule_until_it_recovers(till: Till) -> None:
    customer = till.customer()
    till.fake.tell(
        "decline", payment_method=till.card_of(customer), codes=["insufficient_funds"] * 2
    )
    invoice = issued(till.shop, customer, 10_000)
    till.collect()
    assert invoice.attempts.get().failure_code == "insufficient_funds"
    tries = []
    for day in range(1, 6):
        till.collect(DAY)
        tries.append((day, invoice.attempts.count(), _state(invoice)[0]))

    # After the first decline a day, after the second one three more.
    assert tries == [
        (1, 2, "finalized"), (2, 2, "finalized"), (3, 2, "finalized"), (4, 3, "paid"),
        (5, 3, "paid"),
    ]  # fmt: skip
    assert len(till.charges(customer)) == 1


def test_a_card_that_stays_bad_is_given_up_and_a_new_one_is_charged_at_once(till: Till) -> None:
    customer = till.customer(card=BAD)
    invoice = issued(till.shop, customer, 10_000)
    for _ in range(30):
        till.collect(DAY)
    assert invoice.attempts.count() == 5  # At first, and after 1, 3, 5 and 7 days.
    assert invoice.attempts.latest("number").retry_at is None

    till.new_card(customer)
    till.collect()

    assert _state(invoice) == ("paid", 0)


def test_what_the_bank_says_for_good_is_not_asked_again(till: Till) -> None:
    customer = till.customer()
    till.fake.tell("decline", payment_method=till.card_of(customer), codes=["stolen_card"])
    invoice = issued(till.shop, customer, 10_000)

    till.collect()
    till.collect(30 * DAY)

    assert invoice.attempts.get().retry_at is None


def test_a_bank_transfer_meanwhile_makes_the_charge_a_balance(till: Till) -> None:
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    till.fake.faults({"fault": "lost_answer", "calls": CHARGES, "times": 1})
    till.collect()
    paid(till.shop, invoice, 7_000)

    till.collect(MINUTE)

    assert _state(invoice) == ("paid", 0)
    assert CustomerBalance.objects.get(customer=customer).balance_minor == 7_000
    assert ProcessorFee.objects.get().payment == invoice.payments.get(method="stripe")


def test_a_payment_that_is_processing_keeps_its_attempt_open(till: Till) -> None:
    customer = till.customer()
    till.fake.tell("decline", payment_method=till.card_of(customer), codes=["processing"])
    invoice = issued(till.shop, customer, 10_000)
    till.collect()
    till.collect(DAY)
    assert invoice.attempts.get().state == AttemptState.OPEN

    till.fake.tell("settle", payment_intent=till.call_of(invoice).stripe_id)
    till.hear()

    assert _state(invoice) == ("paid", 0)


def test_two_open_attempts_on_an_invoice_cannot_be(till: Till) -> None:
    invoice = issued(till.shop, till.customer(), 10_000)
    till.fake.faults({"fault": "lost_request", "calls": CHARGES})
    till.collect()
    attempt = invoice.attempts.get()

    attempt.pk, attempt.number = None, 2
    attempt.call = write_call(
        kind=CallKind.PAYMENT, subject="invoice:0", customer_id=invoice.customer_id, params={},
        at=till.at,
    )  # fmt: skip
    with pytest.raises(IntegrityError, match="payment_attempt_one_open"), transaction.atomic():
        attempt.save(force_insert=True)


def test_a_call_that_somebody_sends_is_not_sent_by_another(till: Till) -> None:
    invoice = issued(till.shop, till.customer(), 10_000)
    till.fake.faults({"fault": "lost_answer", "calls": CHARGES})
    till.collect()

    assert send(till.call_of(invoice).pk, by=worker_user(), at=till.at) is None


def test_stripe_that_is_silent_is_left_alone_for_a_while(till: Till) -> None:
    customer = till.customer()
    for _ in range(8):
        issued(till.shop, customer, 10_000)
    till.fake.faults({"fault": "lost_request", "calls": CHARGES})

    till.collect()

    states = PaymentAttempt.objects.values_list("call__state", flat=True)
    assert sorted(states) == ["pending"] * 3 + ["unknown"] * 5


def test_an_invoice_without_a_card_waits(till: Till) -> None:
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    row = StripeCustomer.objects.get(customer=customer)
    row.payment_method = ""
    row.save()

    assert till.collect() == 0
    assert not invoice.attempts.exists()
    record_payment(
        invoice=invoice, amount_minor=10_000, method="bank_transfer", reference="w",
        paid_at=till.at, by=till.shop.worker, at=till.at,
    )  # fmt: skip
