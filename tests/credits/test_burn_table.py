"""Rows of the burn table: every rate, and all that the card's customers used."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from credits.models import RateCardVersion
from credits.selectors.burn_table import BurnRow, burn_table
from credits.services.overrides import propose_rate_override
from credits.supplier_prices import SupplierPrice, TokenKind
from metering.models import UsageWindow
from tests.credits.builders import (
    DAY_10,
    NOVEMBER,
    Shop,
    make_customer,
    rate,
    tiered,
    words,
)
from tests.credits.pricing import supplier_prices

pytestmark = pytest.mark.django_db


def rows(shop: Shop, *versions: RateCardVersion, at: datetime) -> dict[tuple[str, str], BurnRow]:
    table = burn_table(shop.card, versions, currency="USD", since=at - timedelta(days=30), at=at)
    return {(row.meter.code, row.model): row for row in table.rows}


def charges(row: BurnRow) -> list[Decimal | None]:
    return [found.credits_a_unit if found else None for found in row.found]


def test_rates_and_traffic_share_a_table_and_versions_stand_beside_each_other(shop: Shop) -> None:
    one = shop.version([rate("input", "0.5", model="small"), rate("output", "2")], NOVEMBER.start
                       + timedelta(days=1))  # fmt: skip
    two = shop.proposed([rate("input", "0.4", model="small"), rate("input", "9", model="big")],
                        NOVEMBER.start + timedelta(days=2))  # fmt: skip
    shop.use(input="3")
    shop.use(output="4", model="next")

    found = rows(shop, one, two, at=shop.at)

    assert {key: (row.quantity, charges(row)) for key, row in found.items()} == {
        ("input", "small"): (Decimal(3), [Decimal("0.5"), Decimal("0.4")]),
        ("input", "big"): (Decimal(0), [None, Decimal(9)]),
        ("output", ""): (Decimal(0), [Decimal(2), None]),
        # No rate names it: the one for any model prices it in the first version.
        ("output", "next"): (Decimal(4), [Decimal(2), None]),
    }


def test_a_tiered_rate_costs_its_average_over_what_was_used(shop: Shop) -> None:
    tiers = ("10", "1"), (None, "0.5")
    version = shop.version([tiered("input", "graduated", *tiers), rate("output", "2")])
    shop.use(input="30")

    found = rows(shop, version, at=shop.at)

    # 10 x 1 + 20 x 0.5 = 20 credits for 30; without usage, the first unit's price.
    assert charges(found["input", "small"]) == [Decimal("0.666666666667")]
    assert charges(found["input", ""]) == [Decimal(1)]
    assert [one and one.is_average for one in found["input", "small"].found] == [True]


def test_traffic_beyond_any_charge_shows_the_price_of_one(shop: Shop) -> None:
    version = shop.version(
        [tiered("input", "graduated", ("10", "3"), (None, "10000000")), rate("output", "2")]
    )
    shop.use(input="9" * 20)  # 10^27 credits: more than any charge holds.

    found = rows(shop, version, at=shop.at)

    assert charges(found["input", "small"]) == [Decimal(3)]


def test_usage_of_others_and_of_longer_ago_is_not_traffic(shop: Shop) -> None:
    version = shop.version([rate("input", "1", model="x")], NOVEMBER.start + timedelta(days=1))
    shop.use(shop.at - timedelta(days=31), input="3", model="old")
    beta = Shop(
        make_customer("beta", shop.maker, shop.at),
        shop.unit, shop.card, shop.maker, shop.approver, shop.at,
    )  # fmt: skip
    beta.use(input="3", model="unsubscribed")

    assert set(rows(shop, version, at=shop.at)) == {("input", "x")}


def test_usage_that_says_no_model_stands_beside_usage_that_does(shop: Shop) -> None:
    version = shop.version([rate("input", "1")], NOVEMBER.start + timedelta(days=1))
    shop.use(input="3", model="small")
    shop.use(DAY_10 + timedelta(hours=1), input="4", model="other")
    UsageWindow.objects.filter(dimensions={"model": "other"}).update(dimensions={"model": None})

    found = rows(shop, version, at=shop.at)

    assert {("input", ""), ("input", "small")} <= set(found)


def test_the_supplier_s_price_stands_beside_its_model_and_kind(shop: Shop) -> None:
    version = shop.version([rate("input", "1", model="small"), rate("output", "1", model="small")],
                           NOVEMBER.start + timedelta(days=1))  # fmt: skip
    supplier_prices(
        [SupplierPrice("acme", "small", TokenKind.INPUT, Decimal("0.000005"))],
        shop.at,
        shop.maker,
        shop.approver,
    )

    found = rows(shop, version, at=shop.at)

    priced = found["input", "small"]
    assert (priced.supplier_price, priced.supplier) == (Decimal("0.000005"), "acme")
    assert found["output", "small"].supplier_price is None


def test_an_override_shows_what_it_leaves_to_its_card(shop: Shop) -> None:
    shop.version([rate("input", "0.5", model="small"), rate("output", "2")])
    own = propose_rate_override(
        customer=shop.customer, base=shop.card, rates=[rate("output", "1")],
        proposal=words(NOVEMBER.start), by=shop.maker, at=shop.at,
    )  # fmt: skip
    at = shop.at

    table = burn_table(own.rate_card, [own], currency="USD", since=at - timedelta(days=30), at=at)

    found = {(row.meter.code, row.model): row.found[0] for row in table.rows}
    assert {key: one and (one.credits_a_unit, one.is_inherited) for key, one in found.items()} == {
        ("input", "small"): (Decimal("0.5"), True),
        ("output", ""): (Decimal(1), False),
    }
