"""Selling plans, opening periods, ending them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel import outbox
from billing_project.kernel.errors import Conflict, Invalid
from credits.models import BillingPeriod, CreditGrant, RatedUsage
from invoicing.models import Invoice, InvoiceStatus, Subscription
from invoicing.periods import Unit, bound
from invoicing.selectors import billing_periods_of, overage_price, subscription_of
from invoicing.services.packs import sell_credit_pack
from invoicing.services.subscriptions import end_subscription, renew_due, subscribe
from metering.services.customers import close_customer, reopen_customer
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    at_once,
    customer_of,
    fee_invoice,
    first_period,
    open_shop,
    paid,
    propose,
    sell_plan,
    sold_pack,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db


def test_subscribing_opens_the_period_with_its_credits_and_its_fee(shop: Shop) -> None:
    subscription = subscribed(shop)

    period = first_period(subscription)
    assert (period.start_at, period.end_at) == (START, END)
    grant = CreditGrant.objects.get(source_key=f"billing_period:{period.pk}:included")
    assert (grant.category, grant.remaining) == ("included", Decimal(100))
    assert (grant.effective_at, grant.expires_at) == (START, END)
    invoice = fee_invoice(subscription)
    assert (invoice.status, invoice.total_minor, invoice.ready_at) == ("draft", 4900, START)
    line = invoice.lines.get()
    assert (line.kind, line.billing_period, line.source_key) == (
        "recurring", period, f"billing_period:{period.pk}:fee",
    )  # fmt: skip
    assert subscription.customer_id in outbox.waiting("money_changed")
    assert subscription_of(period) == subscription
    assert overage_price(period) == (Decimal("0.012"), "USD")


def test_a_plan_without_fee_or_credits_opens_only_the_period(shop: Shop) -> None:
    subscription = subscribed(shop, fee_minor=0, included_credits=Decimal(0))

    assert billing_periods_of(subscription).count() == 1
    assert not Invoice.objects.exists()
    assert not CreditGrant.objects.exists()


def test_the_same_purchase_again_is_the_same_row(shop: Shop) -> None:
    first = subscribed(shop)

    again = subscribe(
        customer=first.customer, plan_version=first.plan_version, start_at=START,
        by=shop.maker, at=END,
    )  # fmt: skip

    assert again == first
    assert BillingPeriod.objects.count() == 1


def test_a_second_plan_at_the_same_time_is_refused(shop: Shop) -> None:
    first = subscribed(shop)

    with pytest.raises(Conflict, match="already"):
        subscribe(
            customer=first.customer, plan_version=sell_plan(shop, "other"), start_at=END,
            by=shop.maker, at=END,
        )  # fmt: skip


@pytest.mark.parametrize("fault", ["proposed", "early", "currency"])
def test_a_version_that_does_not_govern_is_not_sold(shop: Shop, fault: str) -> None:
    version = propose(shop) if fault == "proposed" else sell_plan(shop)
    customer = customer_of(shop, currency="EUR" if fault == "currency" else "USD")
    start_at = datetime(2025, 12, 31, tzinfo=UTC) if fault == "early" else START

    with pytest.raises(Conflict):
        subscribe(
            customer=customer, plan_version=version, start_at=start_at, by=shop.maker, at=START
        )


def test_renewal_catches_up_and_then_finds_nothing(shop: Shop) -> None:
    subscription = subscribed(shop)

    opened = renew_due(by=shop.worker, at=START + 75 * DAY)  # Periods 2 and 3 began.

    assert opened == 2
    assert renew_due(by=shop.worker, at=START + 75 * DAY) == 0
    bounds = list(billing_periods_of(subscription).values_list("start_at", "end_at"))
    assert bounds == [
        (START + index * 30 * DAY, START + (index + 1) * 30 * DAY) for index in range(3)
    ]
    assert Invoice.objects.filter(status=InvoiceStatus.DRAFT).count() == 3
    assert CreditGrant.objects.filter(category="included").count() == 3


def test_a_period_is_renewed_from_the_instant_it_begins(shop: Shop) -> None:
    subscribed(shop)

    assert renew_due(by=shop.worker, at=END - timedelta(microseconds=1)) == 0
    assert renew_due(by=shop.worker, at=END) == 1


def test_months_keep_the_customers_midnight(shop: Shop) -> None:
    customer = customer_of(shop, "berlin", time_zone="Europe/Berlin")
    version = sell_plan(shop, "monthly", interval_unit="month", interval_count=1)
    start = datetime(2026, 9, 30, 22, tzinfo=UTC)  # 1 October, 00:00 in Berlin.
    subscription = subscribe(
        customer=customer, plan_version=version, start_at=start, by=shop.maker, at=start
    )

    renew_due(by=shop.worker, at=datetime(2026, 12, 1, tzinfo=UTC))

    ends = [period.end_at for period in billing_periods_of(subscription)]
    assert ends == [
        datetime(2026, 10, 31, 23, tzinfo=UTC),
        datetime(2026, 11, 30, 23, tzinfo=UTC),
        datetime(2026, 12, 31, 23, tzinfo=UTC),
    ]


def test_an_ended_subscription_is_not_renewed(shop: Shop) -> None:
    subscription = subscribed(shop)

    ended = end_subscription(
        subscription=subscription, ends_at=END + 30 * DAY, reason="left", by=shop.maker, at=START
    )

    assert renew_due(by=shop.worker, at=START + 200 * DAY) == 1  # Only the second period.
    assert ended.ends_at == END + 30 * DAY
    same = end_subscription(
        subscription=subscription, ends_at=END + 30 * DAY, reason="left", by=shop.maker, at=END
    )
    assert same == ended


@pytest.mark.parametrize(
    ("ends_at", "reason", "error"),
    [
        (END - DAY, "left", Conflict),  # Inside the running period.
        (END + DAY, "left", Conflict),  # Inside the next one.
        (END, "  ", Invalid),
        (END + 5000 * DAY, "left", Invalid),
    ],
)
def test_a_subscription_ends_with_a_period_and_a_reason(
    shop: Shop, ends_at: datetime, reason: str, error: type[Exception]
) -> None:
    subscription = subscribed(shop)

    with pytest.raises(error):
        end_subscription(
            subscription=subscription, ends_at=ends_at, reason=reason, by=shop.maker, at=START
        )


def test_an_end_is_set_once(shop: Shop) -> None:
    subscription = subscribed(shop)
    end_subscription(subscription=subscription, ends_at=END, reason="left", by=shop.maker, at=START)

    with pytest.raises(Conflict, match="ends at"):
        end_subscription(
            subscription=subscription, ends_at=END + 30 * DAY, reason="stays", by=shop.maker,
            at=START,
        )  # fmt: skip


def test_after_the_end_another_plan_may_start(shop: Shop) -> None:
    subscription = subscribed(shop)
    end_subscription(
        subscription=subscription, ends_at=END, reason="upgrade", by=shop.maker, at=START
    )

    second = subscribe(
        customer=subscription.customer, plan_version=sell_plan(shop, "growth"), start_at=END,
        by=shop.maker, at=END,
    )  # fmt: skip

    assert first_period(second).start_at == END
    assert renew_due(by=shop.worker, at=END + DAY) == 0


def test_a_sale_opens_what_the_earlier_subscription_still_owes(shop: Shop) -> None:
    """A period of the old one that opened later would find its last hour taken."""
    half_past = START + timedelta(minutes=30)
    changed_at = half_past + 9 * DAY
    now = changed_at + 3 * DAY
    old = subscribed(shop, start_at=half_past, interval_unit="day", interval_count=3)
    end_subscription(
        subscription=old, ends_at=changed_at, reason="upgrade", by=shop.maker, at=half_past
    )

    subscribe(
        customer=old.customer, plan_version=sell_plan(shop, "growth"), start_at=changed_at,
        by=shop.maker, at=now,
    )  # fmt: skip

    assert billing_periods_of(old).count() == 3
    use(shop, 1000, changed_at - 2 * DAY, "late", known_at=now)
    use(shop, 1000, changed_at + timedelta(minutes=10), "first", known_at=now)
    assert RatedUsage.objects.count() == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE subscription SET start_at = start_at - interval '1 day' WHERE id = %s",
        "DELETE FROM subscription WHERE id = %s",
    ],
)
def test_postgresql_keeps_what_was_sold(shop: Shop, statement: str) -> None:
    subscription = subscribed(shop)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, [subscription.pk])


@pytest.mark.django_db(transaction=True)
def test_two_renewals_at_once_open_each_period_once() -> None:
    shop = open_shop()
    for name in ("acme", "globex", "initech"):
        subscribed(shop, name)

    opened = at_once(*[lambda: renew_due(by=shop.worker, at=END + 31 * DAY)] * 2)

    assert sum(int(str(count)) for count in opened) == 6  # Three customers, two periods each.
    assert BillingPeriod.objects.count() == 9
    assert Subscription.objects.count() == 3


def test_a_closed_customer_is_sold_nothing(shop: Shop) -> None:
    version, customer = sell_plan(shop), customer_of(shop)
    close_customer(customer=customer, by=shop.maker, at=START, reason="left")

    with pytest.raises(Conflict) as plan:
        subscribe(customer=customer, plan_version=version, start_at=START, by=shop.maker, at=START)
    with pytest.raises(Conflict) as pack:
        sell_credit_pack(
            customer=customer, pricing_unit=shop.unit, amount=Decimal(10), price_minor=100,
            key="late", by=shop.maker, at=START,
        )  # fmt: skip

    assert {plan.value.code, pack.value.code} == {"customer_closed"}
    assert {plan.value.field, pack.value.field} == {"customer"}
    assert not Subscription.objects.exists()
    assert not Invoice.objects.exists()


def test_periods_that_begin_while_closed_cost_and_give_nothing(shop: Shop) -> None:
    subscription = subscribed(shop)
    customer = subscription.customer
    close_customer(customer=customer, by=shop.maker, at=END + DAY, reason="left")
    again = bound_after(subscription, 3)

    # The second period began before the closing; the worker comes to it after.
    renew_due(by=shop.maker, at=bound_after(subscription, 2) + DAY)
    reopen_customer(customer=customer, by=shop.maker, at=again - DAY, reason="is back")
    renew_due(by=shop.maker, at=again)

    periods = list(billing_periods_of(subscription))
    given = [
        CreditGrant.objects.filter(source_key=f"billing_period:{period.pk}:included").exists()
        for period in periods
    ]
    charged = [
        Invoice.objects.filter(source_key=f"billing_period:{period.pk}:fee").exists()
        for period in periods
    ]
    assert given == charged == [True, True, False, True]


def test_a_pack_sold_before_the_closing_is_granted_once_it_is_paid(shop: Shop) -> None:
    customer = customer_of(shop)
    invoice = sold_pack(shop, customer, 1_000)
    close_customer(customer=customer, by=shop.maker, at=START, reason="left")

    paid(shop, invoice)

    assert CreditGrant.objects.get().price_minor == 1_000


def test_a_purchase_never_resets_what_the_plan_includes(shop: Shop) -> None:
    subscription = subscribed(shop)  # 100 credits are included.
    use(shop, 30, START + DAY)

    paid(shop, sold_pack(shop, subscription.customer, 1_000))

    included, bought = CreditGrant.objects.order_by("pk")
    assert (included.category, bought.category) == ("included", "paid")
    assert included.remaining == 70
    assert bought.remaining == 100


def bound_after(subscription: Subscription, periods: int) -> datetime:
    """Return the end of a subscription's n-th period."""
    terms = subscription.plan_version
    return bound(
        subscription.start_at, Unit(terms.interval_unit), terms.interval_count, periods,
        subscription.customer.time_zone,
    )  # fmt: skip
