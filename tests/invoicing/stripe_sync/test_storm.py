"""Everything goes wrong at once: there are as many charges as invoices, and none for forgers."""

import json
import random
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from billing_project.kernel.books import run_checks
from invoicing.models import (
    AttemptState,
    Invoice,
    InvoiceStatus,
    Payment,
    PaymentAttempt,
    StripeCustomer,
    StripeEvent,
)
from revrec.services.recognise import recognise_pending
from tests.fakes.stripe.webhooks import signature
from tests.invoicing.builders import issued
from tests.invoicing.stripe_sync.till import Till

WRITES = "POST /v1/payment_intents"
STORM: tuple[dict[str, Any], ...] = (
    {"fault": "lost_answer", "calls": WRITES, "percent": 30},
    {"fault": "error", "calls": WRITES, "percent": 4},
    {"fault": "error_after", "calls": WRITES, "percent": 3},
    {"fault": "unavailable", "calls": WRITES, "percent": 3},
    {"fault": "too_many", "calls": WRITES, "percent": 10},
    {"fault": "unavailable", "calls": "GET /v1/", "percent": 5},
)
ROUNDS, ROUND = 30, timedelta(minutes=11)


def _forged(dice: random.Random, delivery: dict[str, str]) -> dict[str, str]:
    """Return a delivery as a forger writes it: altered content, or signed by another secret."""
    event = json.loads(delivery["body"])
    body = json.dumps({**event, "id": f"evt_forged_{dice.random()}"})
    signed = signature(body.encode(), "whsec_guessed", int(time.time()))
    return {"body": body, "signature": dice.choice([signed, delivery["signature"]])}


def _deliver_badly(till: Till, dice: random.Random) -> Counter[int]:
    """Deliver the news doubled, shuffled and with forgeries between; count the answers."""
    news = till.news()
    badly = [*news, *news, *(_forged(dice, one) for one in news)]
    dice.shuffle(badly)
    return Counter(till.deliver(one) for one in badly)


@pytest.mark.parametrize("count", [12, pytest.param(300, marks=pytest.mark.long)])
def test_charges_are_invoices_exactly_whatever_goes_wrong(till: Till, count: int) -> None:
    dice = random.Random(count)
    customers = [till.customer(f"customer-{n}") for n in range(max(2, count // 30))]
    invoices = [
        issued(till.shop, dice.choice(customers), dice.randrange(100, 90_000)) for _ in range(count)
    ]
    till.fake.faults(*STORM, seed=count)
    answers: Counter[int] = Counter()
    for number in range(ROUNDS):
        till.collect(ROUND)
        if number % 3 == 2:
            answers += _deliver_badly(till, dice)
        if not Invoice.objects.filter(status=InvoiceStatus.FINALIZED).exists():
            break

    till.fake.faults()
    charged: Counter[str] = Counter()
    for customer in customers:
        for intent in till.charges(customer):
            charged[intent["metadata"]["invoice"]] += intent["amount"]
    assert charged == {str(one.number): one.total_minor for one in invoices}
    assert sum(len(till.charges(customer)) for customer in customers) == count
    assert Payment.objects.count() == count
    assert PaymentAttempt.objects.filter(state=AttemptState.SUCCEEDED).count() == count
    assert not StripeEvent.objects.filter(stripe_id__startswith="evt_forged").exists()
    assert StripeCustomer.objects.count() == len(customers)

    answers += _deliver_badly(till, dice)
    assert Payment.objects.count() == count
    assert set(answers) <= {200, 400, 503}
    recognise_pending(by=till.shop.worker, at=till.at, limit=None)
    assert [finding for result in run_checks() for finding in result.findings] == []
