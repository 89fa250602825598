"""Credits sold out of band are booked on the day they were recorded, and earn nothing before."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from credits.models import CreditGrant, GrantCategory
from credits.services.grants import issue_grant
from metering.models import Customer
from revrec.models import Posting
from tests.revrec.builders import Shop, balances, entries, on, recognise

pytestmark = pytest.mark.django_db


def _sell(shop: Shop, customer: Customer, *, recorded: str, effective_at: datetime) -> CreditGrant:
    return issue_grant(
        customer=customer, category=GrantCategory.PAID, amount=Decimal(100), pricing_unit=shop.unit,
        reason_code="sale", source_key=f"test:{customer.pk}", by=shop.maker, at=on(recorded),
        effective_at=effective_at, price_minor=1_000,
    )  # fmt: skip


def test_a_sale_is_posted_on_the_day_it_was_recorded(shop: Shop) -> None:
    customer = shop.customer()
    _sell(shop, customer, recorded="2026-01-05", effective_at=on("2026-03-01"))

    recognise(customer, "2026-01-06")

    [sale] = entries(customer, "credits_sold")
    assert sale.effective_on == date(2026, 1, 5)
    assert balances(customer) == {"1000": 1_000, "2100": -1_000}


def test_no_date_of_a_grant_stops_the_books(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credits.services.grants.FARTHEST", timedelta.max)
    customer = shop.customer()
    end_of_time = datetime(9999, 12, 31, tzinfo=UTC)
    _sell(shop, customer, recorded="2026-01-05", effective_at=end_of_time)

    assert recognise(customer, "2026-01-06") == 1


def test_use_before_the_sale_was_recorded_is_earned_with_the_sale(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    shop.renew("2026-02-01")
    _sell(shop, customer, recorded="2026-02-10", effective_at=on("2026-01-01"))
    shop.use(customer, "40", "2026-01-20T10")  # Reported late: 40 of 100 credits for 10.00.

    recognise(customer, "2026-02-11")

    [use] = entries(customer, "credits_used")
    assert use.effective_on == date(2026, 2, 10)
    services = Posting.objects.filter(entry=use).values_list("service_start_on", flat=True)
    assert set(services) == {date(2026, 1, 20)}
    assert balances(customer, until=date(2026, 2, 1)) == {}  # No liability below nothing.
    assert balances(customer) == {"1000": 1_000, "2100": -600, "4010": -400}
