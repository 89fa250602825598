"""Payouts add up from what moved, of whatever days; what nobody explains is a row with an owner."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from invoicing.models import ProcessorFee, StripeDifference
from invoicing.stripe_sync.reconciling import Reconciled, reconcile
from tests.invoicing.builders import ensure_market, issued
from tests.invoicing.stripe_sync.till import Till, real_now

HOUR = timedelta(hours=1)


@pytest.fixture
def bank(till: Till) -> Iterator[Till]:
    """Return a shop at a Stripe whose balance is empty, and is emptied afterwards."""
    till.fake.tell("pay_out")
    yield till
    till.fake.tell("settle_in", currency="eur", settled_in="eur", percent=100)
    till.fake.tell("pay_out")


def _reconcile(till: Till) -> Reconciled:
    return reconcile(since=real_now() - 2 * HOUR, until=real_now() + 2 * HOUR, at=till.at)


def _about(*ids: str) -> list[tuple[str, str, str, str, str]]:
    rows = StripeDifference.objects.filter(resolved_at=None).order_by("id")
    return [
        (row.kind, row.subject.partition(" ")[0], row.here, row.there, row.owner)
        for row in rows
        if row.subject.partition(" ")[2] in ids
    ]


def _paid_out(till: Till, currency: str = "usd") -> dict[str, Any]:
    made: list[dict[str, Any]] = till.fake.tell("pay_out")
    [payout] = [one for one in made if one["currency"] == currency]
    return payout


def test_a_payout_of_several_days_adds_up_from_charges_and_their_fees(bank: Till) -> None:
    customer = bank.customer()
    issued(bank.shop, customer, 10_000)
    bank.collect()
    bank.fake.tell("move_clock", seconds=86_400)
    issued(bank.shop, customer, 5_000)
    bank.collect()
    payout = _paid_out(bank)
    bank.fake.tell("move_clock", seconds=-86_400)

    # 100.00 - 3.20 and 50.00 - 1.75; Stripe says of which payout each is.
    assert payout["amount"] == 9_680 + 4_825
    reconcile(since=real_now() + 20 * HOUR, until=real_now() + 30 * HOUR, at=bank.at)
    assert _about(payout["id"]) == []


@pytest.mark.parametrize(
    ("moved", "there"),
    [
        ({"type": "stripe_fee", "amount": -200}, "-2.00 USD stripe_fee"),
        ({"type": "adjustment", "amount": 1_234}, "12.34 USD adjustment"),
        ({"type": "payout_cancel", "amount": 50, "source": "po_old"}, "0.50 USD payout_cancel"),
    ],
)
def test_a_movement_that_nobody_explains_is_finances(
    bank: Till, moved: dict[str, Any], there: str
) -> None:
    made = bank.fake.tell("move", currency="usd", **moved)
    payout = bank.fake.tell("pay_out")[0]

    _reconcile(bank)

    assert _about(made["id"], payout["id"]) == [("only_there", "movement", "", there, "finance")]


def test_a_fee_that_is_given_back_is_a_row(bank: Till) -> None:
    customer = bank.customer()
    issued(bank.shop, customer, 10_000)
    bank.collect()
    [intent] = bank.charges(customer)
    back = bank.fake.tell(
        "move", type="adjustment", currency="usd", fee=-320, source=intent["latest_charge"]
    )

    _reconcile(bank)

    assert _about(back["id"]) == [("only_there", "fee", "", "-3.20 USD", "finance")]


def test_money_in_another_currency_than_it_settles_in_agrees(bank: Till) -> None:
    bank.fake.tell("settle_in", currency="eur", settled_in="usd", percent=108)
    ensure_market(bank.shop, "", "EUR")
    customer = bank.customer(currency="EUR")
    issued(bank.shop, customer, 10_000, "EUR")
    bank.collect()
    [intent] = bank.charges(customer)
    payout = _paid_out(bank)

    done = _reconcile(bank)

    fee = ProcessorFee.objects.get()
    assert (fee.amount_minor, fee.currency) == (343, "USD")  # 2.9 % of 108.00, and 0.30.
    assert payout["amount"] == 10_800 - 343
    assert _about(intent["id"], payout["id"], fee.reference) == []
    assert done.paid_out["USD"] >= payout["amount"]


def test_a_payout_below_nothing_is_taken_from_the_bank(bank: Till) -> None:
    made = bank.fake.tell("move", type="adjustment", amount=-5_000, currency="nok")
    payout = _paid_out(bank, "nok")

    done = _reconcile(bank)

    assert (payout["amount"], done.paid_out["NOK"]) == (-5_000, -5_000)
    assert _about(made["id"], payout["id"]) == [
        ("only_there", "movement", "", "-50.00 NOK adjustment", "finance")
    ]


def test_a_payout_that_is_not_the_sum_of_its_movements_is_a_row(bank: Till) -> None:
    bank.fake.tell("move", type="adjustment", amount=7_000, currency="sek")
    payout = _paid_out(bank, "sek")
    bank.fake.tell("change", id=payout["id"], amount=7_100)

    _reconcile(bank)

    assert _about(payout["id"]) == [
        ("balance", "payout", "made of 70.00 SEK", "71.00 SEK", "finance")
    ]


def test_a_payout_that_failed_is_a_row(bank: Till) -> None:
    bank.fake.tell("move", type="adjustment", amount=9_000, currency="dkk")
    payout = _paid_out(bank, "dkk")
    bank.fake.tell("change", id=payout["id"], status="failed")

    done = _reconcile(bank)

    assert _about(payout["id"]) == [("state", "payout", "paid", "90.00 DKK failed", "finance")]
    assert "DKK" not in done.paid_out
