"""A balance that is filled by itself, through the card that the customer left."""

from datetime import timedelta
from decimal import Decimal

from billing_project.kernel.money import Money
from credits.models import Alert, CreditGrant
from credits.services.authorizing import authorize
from credits.services.standing import Request
from invoicing.models import AttemptState, AutoRecharge, PaymentAttempt, Recharge
from invoicing.services.recharging import Wish, recharge_due, set_up_recharge
from metering.models import Customer
from tests.invoicing.stripe_sync.till import BAD, Till

DAY = timedelta(days=1)


def _agreed(till: Till, customer: Customer) -> AutoRecharge:
    wish = Wish(
        pricing_unit=till.shop.unit, threshold=Decimal(100), amount=Decimal(500),
        unit_price=Decimal("0.09"), monthly_limit=Money(10_000, "USD"), consent="form 7",
        consented_by="Ada", consented_at=till.at, cool_down=timedelta(0), most_failures=2,
    )  # fmt: skip
    return set_up_recharge(customer=customer, wish=wish, by=till.shop.maker, at=till.at)


def test_the_card_is_charged_once_and_the_credits_come(till: Till) -> None:
    customer = till.customer()
    _agreed(till, customer)

    bought = [recharge_due(by=till.shop.worker, at=till.at) for _ in range(2)]
    till.collect()
    again = recharge_due(by=till.shop.worker, at=till.at)

    assert (bought, again) == ([1, 0], 0)
    assert [charge["amount"] for charge in till.charges(customer)] == [4_500]
    assert CreditGrant.objects.get(customer=customer).remaining == 500
    assert Recharge.objects.get().state == "paid"


def test_the_cards_are_left_alone_once_the_months_limit_is_met(till: Till) -> None:
    customer = till.customer()
    _agreed(till, customer)
    bought = []
    for _ in range(3):
        bought.append(recharge_due(by=till.shop.worker, at=till.at))
        till.collect()
        use_up = Request(credits=Decimal(460))  # 40 are left, then 540 - 460 = 80.
        authorize(customer=customer, request=use_up, api_key=None, at=till.at)

    assert bought == [1, 1, 0]  # 45.00 + 45.00; a third is above 100.00.
    assert [charge["amount"] for charge in till.charges(customer)] == [4_500, 4_500]
    assert "month's limit of 100.00 USD" in Alert.objects.get().title


def test_it_is_off_after_failed_payments_and_nothing_is_owed(till: Till) -> None:
    customer = till.customer(card=BAD)
    row = _agreed(till, customer)
    recharge_due(by=till.shop.worker, at=till.at)
    for _ in range(3):
        till.collect(6 * DAY)
        recharge_due(by=till.shop.worker, at=till.at)

    row.refresh_from_db()
    one = Recharge.objects.get()
    assert (row.end_reason, one.state, one.invoice.status) == (
        "2 payments failed", "failed", "void",
    )  # fmt: skip
    declined = PaymentAttempt.objects.filter(state=AttemptState.DECLINED).count()
    assert (declined, Alert.objects.get().title) == (2, "Auto-recharge is off: 2 payments failed")
    assert not CreditGrant.objects.filter(customer=customer).exists()


def test_it_is_off_at_once_where_the_bank_said_never_again(till: Till) -> None:
    customer = till.customer(card=BAD)
    row = _agreed(till, customer)
    recharge_due(by=till.shop.worker, at=till.at)
    till.collect()
    PaymentAttempt.objects.update(retry_at=None)  # As of a stolen card: never with this one.
    recharge_due(by=till.shop.worker, at=till.at)

    row.refresh_from_db()
    assert (row.end_reason, Recharge.objects.get().state) == ("a payment failed for good", "failed")
    assert Alert.objects.get().title == "Auto-recharge is off: a payment failed for good"
