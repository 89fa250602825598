"""What a credit beyond the included ones costs."""

from datetime import timedelta
from decimal import Decimal

import pytest

from invoicing.selectors.credit_price import credit_price_at
from tests.invoicing.builders import START, Shop, subscribed

pytestmark = pytest.mark.django_db


def test_a_plan_prices_credits_of_its_own_unit_while_it_is_sold(shop: Shop) -> None:
    customer = subscribed(shop).customer

    assert credit_price_at(customer, shop.unit.code, START) == (Decimal("0.012"), "USD")
    assert credit_price_at(customer, "other", START) is None
    assert credit_price_at(customer, shop.unit.code, START - timedelta(days=1)) is None
