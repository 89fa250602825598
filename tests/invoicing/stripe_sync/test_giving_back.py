"""Refunds and disputes through Stripe: once each, and never both for the same money."""

from datetime import timedelta
from typing import Any

import pytest

from billing_project.kernel.errors import Insufficient
from credits.models import ClawBack, CreditGrant
from invoicing.crediting import Settlement
from invoicing.models import (
    CallKind,
    CustomerBalance,
    Dispute,
    Invoice,
    ProcessorFee,
    Refund,
    RefundFailure,
    StripeCall,
    StripeDifference,
)
from invoicing.stripe_sync.reconciling import reconcile
from invoicing.stripe_sync.refunding import refund_balance
from tests.invoicing.builders import issued, note_on, sold_pack
from tests.invoicing.stripe_sync.till import Till

MINUTE = timedelta(minutes=1)
REFUNDS = "POST /v1/refunds"


def _collected(till: Till, minor: int = 10_000) -> Invoice:
    invoice = issued(till.shop, till.customer(), minor)
    till.collect()
    invoice.refresh_from_db()
    assert invoice.status == "paid"
    return invoice


def _refunds(till: Till) -> list[StripeCall]:
    return list(StripeCall.objects.filter(kind=CallKind.REFUND).order_by("id"))


@pytest.mark.parametrize("fault", [None, "lost_answer", "error", "error_after", "too_many"])
def test_what_a_note_promises_goes_back_to_the_card_once(till: Till, fault: str | None) -> None:
    invoice = _collected(till)
    note = note_on(till.shop, invoice, 3_000, Settlement(refund_minor=3_000))
    if fault:
        till.fake.faults({"fault": fault, "calls": REFUNDS, "times": 1})

    for _ in range(4):
        till.collect(5 * MINUTE)

    refund = Refund.objects.get(credit_note=note)
    assert (refund.amount_minor, refund.method) == (3_000, "stripe")
    assert _refunds(till)[-1].state == "done"
    charge = till.intents({"customer": till.call_of(invoice).params["customer"]})[0]
    assert len(till.fake.tell("find", object="refund", payment_intent=charge["id"])) == 1


def test_a_refund_that_comes_back_is_the_customers_balance(till: Till) -> None:
    invoice = _collected(till)
    note_on(till.shop, invoice, 3_000, Settlement(refund_minor=3_000))
    till.collect()
    till.hear()

    till.fake.tell("fail_refund", refund=_refunds(till)[0].stripe_id, reason="lost_or_stolen_card")
    till.hear()

    assert RefundFailure.objects.get().reason == "Stripe: lost_or_stolen_card"
    assert CustomerBalance.objects.get().balance_minor == 3_000


def test_a_balance_goes_back_to_the_cards_that_paid_and_no_further(till: Till) -> None:
    invoice = _collected(till)
    note_on(till.shop, invoice, 4_000)
    balance = CustomerBalance.objects.get(customer=invoice.customer)
    words: Any = {"balance": balance, "amount_minor": 2_500, "by": till.shop.worker, "at": till.at}

    first, again = (refund_balance(**words, key="k1") for _ in range(2))
    till.collect()

    balance.refresh_from_db()
    assert first == again
    assert (balance.balance_minor, _refunds(till)[0].state) == (1_500, "done")
    with pytest.raises(Insufficient):
        refund_balance(**words, key="k2")


def test_a_dispute_is_opened_with_its_fee_and_lost_with_its_credits(till: Till) -> None:
    customer = till.customer()
    sold_pack(till.shop, customer, 9_000)
    till.collect()
    [charge] = till.charges(customer)
    told = till.fake.tell("open_dispute", charge=charge["latest_charge"], reason="fraudulent")
    till.hear()
    grant = CreditGrant.objects.get(customer=customer)
    dispute = Dispute.objects.get()
    assert (dispute.amount_minor, dispute.reason, int(grant.remaining)) == (9_000, "fraudulent", 0)
    assert ProcessorFee.objects.get(kind="dispute").amount_minor == 1_500

    till.fake.tell("close_dispute", dispute=told["id"], status="lost")
    till.hear()
    till.hear()

    dispute.refresh_from_db()
    assert dispute.outcome.verdict == "lost"
    assert ClawBack.objects.get().credits == 100


def test_what_is_disputed_is_not_refunded_too(till: Till) -> None:
    invoice = _collected(till)
    note_on(till.shop, invoice, 3_000, Settlement(refund_minor=3_000))
    [charge] = till.charges(invoice.customer)
    till.fake.tell("open_dispute", charge=charge["latest_charge"])
    till.hear()

    till.collect()

    assert _refunds(till) == []


def test_a_refund_that_stripe_refuses_is_the_customers_balance(till: Till) -> None:
    invoice = _collected(till)
    note_on(till.shop, invoice, 3_000, Settlement(refund_minor=3_000))
    [charge] = till.charges(invoice.customer)
    till.fake.tell("open_dispute", charge=charge["latest_charge"])  # Not heard of yet.

    till.collect()

    assert RefundFailure.objects.get().reason.startswith("Stripe refused it: The charge has been")
    assert CustomerBalance.objects.get().balance_minor == 3_000


def test_what_stripe_cannot_move_to_the_last_unit_is_left_to_finance(till: Till) -> None:
    customer = till.customer(currency="KWD")
    odd, even = issued(till.shop, customer, 1_234, "KWD"), issued(till.shop, customer, 1_230, "KWD")
    till.collect()
    odd.refresh_from_db()
    even.refresh_from_db()

    assert (odd.status, odd.attempts.count(), even.status) == ("finalized", 0, "paid")
    reconcile(since=till.at - 60 * MINUTE, until=till.at + 60 * MINUTE, at=till.at)
    told = StripeDifference.objects.get(subject=f"claim {odd.number}")
    assert (told.here, told.owner) == ("1.234 KWD owed, not in tens", "finance")
    note = note_on(till.shop, even, 1_005, Settlement(refund_minor=1_005))
    till.collect()
    # Whole tens go back by card; the rest waits for a refund that somebody records.
    assert Refund.objects.get(credit_note=note).amount_minor == 1_000
