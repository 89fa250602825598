"""Plan changes in the books: prospective, nothing earned for days that are not served."""

from datetime import date

import pytest
from django.db.models import Sum

from invoicing.models import ChangeKind, CreditNote, Invoice, PlanVersion, Subscription
from invoicing.phases import Moment
from invoicing.services.changes import Asked, change_subscription
from invoicing.services.invoices import finalize_due
from metering.models import Customer
from revrec.models import Posting, RevenueSchedule
from tests.revrec.builders import Shop, balances, on, recognise

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]


def _change(
    shop: Shop, customer: Customer, kind: str, at: str, plan: PlanVersion | None = None
) -> None:
    subscription = Subscription.objects.get(customer=customer)
    asked = Asked(ChangeKind(kind), Moment.NOW, "they asked", f"{kind}:{at}", plan)
    change_subscription(subscription=subscription, asked=asked, by=shop.maker, at=on(at))
    finalize_due(by=shop.maker, at=on(at))


def _fees_of(customer: Customer, first: str, last: str) -> int:
    """Sum the fee revenue of service days, in minor units."""
    rows = Posting.objects.filter(
        customer_id=customer.pk, account="4000",
        service_start_on__range=(date.fromisoformat(first), date.fromisoformat(last)),
    )  # fmt: skip
    return -(rows.aggregate(sum=Sum("amount_minor"))["sum"] or 0)


def test_an_upgrade_moves_only_what_is_not_earned(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    larger = shop.plan_version(fee=6_200)

    _change(shop, customer, "plan", "2026-01-11T09", larger)
    recognise(customer, "2026-01-11T10")

    # Ten days at 1.00 are earned; 21.00 comes off the liability and the claim, no revenue moves.
    # The new fee for 21 of 31 days, 42.00, is deferred.
    assert balances(customer) == {"1100": 1_000 + 4_200, "2120": -4_200, "4000": -1_000}
    recognise(customer, "2026-02-01")
    assert balances(customer) == {"1100": 5_200, "4000": -5_200}
    assert _fees_of(customer, "2026-01-11", "2026-01-31") == 4_200


def test_what_was_paid_becomes_a_balance_that_pays_the_new_fee(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    shop.pay(Invoice.objects.get(), "2026-01-02")

    _change(shop, customer, "plan", "2026-01-11T09", shop.plan_version(fee=6_200))
    recognise(customer, "2026-02-01")

    assert CreditNote.objects.get().balance_minor == 2_100
    assert balances(customer) == {"1000": 3_100, "1100": 2_100, "4000": -5_200}


def test_a_pause_earns_nothing(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)

    _change(shop, customer, "pause", "2026-01-11T09")
    _change(shop, customer, "resume", "2026-01-21T09")
    recognise(customer, "2026-02-01")

    assert _fees_of(customer, "2026-01-01", "2026-01-10") == 1_000
    assert _fees_of(customer, "2026-01-11", "2026-01-20") == 0
    assert _fees_of(customer, "2026-01-21", "2026-01-31") == 1_100
    assert balances(customer) == {"1100": 2_100, "4000": -2_100}


def test_a_cancellation_at_once_ends_the_schedule(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)

    _change(shop, customer, "cancel", "2026-01-11T09")
    recognise(customer, "2026-03-01")

    assert balances(customer) == {"1100": 1_000, "4000": -1_000}
    newest = RevenueSchedule.objects.latest("revision")
    assert (newest.price_minor, newest.end_on) == (1_000, date(2026, 1, 11))


def test_where_the_customers_day_is_not_the_books_day_no_later_day_earns(shop: Shop) -> None:
    # Auckland is 13 hours ahead: 1 January 14:00 there is 01:00 UTC; 11 January 02:00 there is
    # 10 January 13:00 UTC. Ten local days are used, while nine days of the books have ended.
    customer = shop.customer()
    Customer.objects.filter(pk=customer.pk).update(time_zone="Pacific/Auckland")
    customer.refresh_from_db()
    shop.subscribe(customer, "2026-01-01T01", fee=3_100)

    _change(shop, customer, "cancel", "2026-01-10T13")
    recognise(customer, "2026-03-01")

    assert balances(customer) == {"1100": 1_000, "4000": -1_000}
    assert _fees_of(customer, "2026-01-11", "2026-03-01") == 0
