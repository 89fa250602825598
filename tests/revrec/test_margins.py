"""Margins of a month: what is shared sums to the books, and costs to the windows'."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker

from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from credits.selectors.supplier_costs import costs_by_day
from credits.services.grants import issue_grant
from credits.supplier_prices import SupplierPrice, TokenKind
from invoicing.models import Subscription
from invoicing.services.invoices import finalize_due
from revrec.margins import is_below_floor, percent_text, settled, share_text, shared
from revrec.models import AccountingPeriod
from revrec.reporting import Table
from revrec.selectors.tables import REPORTS, margins
from revrec.services.recognise import recognise_customer
from tests.console.backoffice import client_of
from tests.credits.pricing import supplier_prices
from tests.invoicing.builders import START, Shop, open_shop, subscribed, use
from tests.worlds import standing

USED_AT = START + timedelta(days=2, minutes=5)  # 23 October.
NOW = START + timedelta(days=10, hours=13)  # 31 October: ten days of the fee are earned.
AMOUNTS = st.decimals(0, 10**6, places=4, allow_nan=False, allow_infinity=False)


def test_revenue_is_shared_by_charges_and_sums_to_itself() -> None:
    # 31.00, 750 and 250 credits: 23.25 and 7.75.
    charges = {"large": Decimal(750), "small": Decimal(250), "gone": Decimal(-5)}

    assert shared(3_100, charges, "-") == {"large": 2_325, "small": 775}
    assert shared(3_100, {"gone": Decimal(0)}, "-") == {"-": 3_100}


@given(st.integers(-(10**9), 10**9), st.dictionaries(st.integers(0, 9), AMOUNTS))
def test_shares_sum_to_the_revenue(amount: int, charges: dict[int, Decimal]) -> None:
    assert sum(shared(amount, charges, -1).values()) == amount


@given(st.dictionaries(st.integers(0, 9), AMOUNTS))
def test_rounded_costs_sum_to_the_rounded_total(costs: dict[int, Decimal]) -> None:
    whole = sum(costs.values(), Decimal(0)).quantize(Decimal("0.01"), "ROUND_HALF_UP")

    assert sum(settled(costs, "USD").values()) == int(whole * 100)


def test_percents_and_the_floor() -> None:
    assert (percent_text(1_000, 800), percent_text(0, 5)) == ("20.0", "-")
    assert share_text(Decimal(1), Decimal(3)) == "33.3"
    # Exactly 20 % is no alarm; cost without revenue is.
    assert not is_below_floor(1_000, 800)
    assert is_below_floor(1_000, 801)
    assert is_below_floor(0, 1)
    assert not is_below_floor(0, 0)


def make_world() -> tuple[Shop, Subscription]:
    """Let acme use 80 tokens of `small` and 100 of `large`; 30 of them are paid by a promotion.

    The supplier takes USD 0.10 for a token of small, and 0.05 for one of large, 0.30 from the day
    after on.
    """
    shop = open_shop()
    for model, amount, at in (
        ("small", "0.1", START), ("large", "0.05", START), ("large", "0.3", USED_AT + timedelta(1)),
    ):  # fmt: skip
        supplier_prices(
            [SupplierPrice("acme", model, TokenKind.OUTPUT, Decimal(amount))],
            at,
            shop.maker,
            shop.approver,
        )
    subscription = subscribed(shop)
    issue_grant(
        customer=subscription.customer, category="promotional", amount=Decimal(30), priority=1,
        pricing_unit=shop.unit, reason_code="welcome", source_key="test:promo", by=shop.maker,
        at=START, effective_at=START,
    )  # fmt: skip
    finalize_due(by=shop.worker, at=START)
    use(shop, 80, USED_AT)
    use(shop, 100, USED_AT, "req-2", model="large")
    recognise_customer(customer_id=subscription.customer_id, by=shop.worker, at=NOW)
    return shop, subscription


@pytest.fixture(scope="module")
def made(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[tuple[Shop, Subscription]]:
    with (
        override_settings(BILLING_CLOCK=NOW.isoformat()),
        standing(make_world, django_db_blocker) as world,
    ):
        yield world


@pytest.fixture
def world(made: tuple[Shop, Subscription], db: None, settings: Any) -> tuple[Shop, Subscription]:
    settings.BILLING_CLOCK = NOW.isoformat()
    return deepcopy(made)


@pytest.fixture
def october(world: tuple[Shop, Subscription]) -> AccountingPeriod:
    return AccountingPeriod.objects.get(start_on=date(2026, 10, 1))


def figures(table: Table) -> dict[tuple[str, ...], tuple[int, int]]:
    """Return revenue and cost by the labels that are no shares."""
    shares = {"margin_percent", "cached_share", "output_share"}
    return {
        tuple(text for name, text in row.labels.items() if name not in shares): (
            row.figures["recognised"].amount_minor,
            row.figures["supplier"].amount_minor,
        )
        for row in table.rows
    }


def test_the_price_of_the_hour_counts(world: tuple[Shop, Subscription]) -> None:
    found = costs_by_day(Period(START, NOW), "USD")

    # 80 x 0.10 = 8.00; 100 x 0.05 = 5.00: the dearer price came a day later.
    assert {one.model: one.cost for one in found} == {"small": Decimal(8), "large": Decimal(5)}


def test_margins_tie_to_recognised_revenue_in_every_cut(october: AccountingPeriod) -> None:
    # Fee 49.00 x 10/30 = 16.33; of 180 credits 30 are promotional, 100 included, 50 beyond at
    # 0.012 = 0.60: 16.93. The supplier's 13.00.
    assert figures(margins.by_customer(october)) == {("acme", "plan-acme"): (1_693, 1_300)}
    assert figures(margins.by_plan(october)) == {("plan-acme",): (1_693, 1_300)}
    # The 50 credits beyond are of `large`, whose 0.60 the books name; of the fee each has its share
    # by the 80 and 100 credits that it was charged: 16.33 x 80/180 = 7.26, rounded day by day.
    by_model = figures(margins.by_model(october))
    assert {key: cost for key, (_, cost) in by_model.items()} == {("large",): 500, ("small",): 800}
    assert sum(revenue for revenue, _ in by_model.values()) == 1_693
    assert by_model["small",][0] in range(722, 731)
    found = REPORTS["disaggregation"].build(october)
    told = {
        (row.labels["stream"], row.labels["model"]): row.texts()["amount"] for row in found.rows
    }
    assert told == {("Base fees", "-"): "16.33", ("Overage", "large"): "0.60"}
    assert figures(margins.by_workspace(october)) == {("acme", "-"): (1_693, 1_300)}
    by_day = figures(margins.by_day(october))
    assert by_day["2026-10-23",] == (163 + 60, 1_300)
    assert sum(revenue for revenue, _ in by_day.values()) == 1_693


def test_what_was_given_away_and_what_is_unbilled_has_its_cost(october: AccountingPeriod) -> None:
    # Small first: 30 promotional, 50 included: 3.00 and 5.00. Large: 50 included, 50 beyond.
    found = {row.labels["paid_by"]: row for row in margins.by_funding(october).rows}

    costs = {name: row.figures["supplier"].amount_minor for name, row in found.items()}
    assert costs == {"promotional": 300, "included": 750, "overage unbilled": 250}
    assert found["promotional"].labels["credits"] == "30"


def test_a_heavy_user_below_the_floor_is_listed(
    world: tuple[Shop, Subscription], october: AccountingPeriod
) -> None:
    assert figures(margins.below_floor(october)) == {}  # 23.2 % are left.

    use(world[0], 20, USED_AT, "req-3")  # 2.00 more for 0.24.

    assert list(figures(margins.below_floor(october))) == [("acme", "plan-acme")]


def test_usage_without_a_price_is_named(
    world: tuple[Shop, Subscription], october: AccountingPeriod
) -> None:
    use(world[0], 7, USED_AT, "req-4", model="odd")

    assert "odd output" in margins.by_model(october).notes[-1]


def test_pages_and_the_api_answer(
    world: tuple[Shop, Subscription], october: AccountingPeriod, auditor: User
) -> None:
    client = client_of(auditor)
    _, key = create_api_key(name="reader", scopes=["usage:read", "admin"], at=NOW)
    names = [name for name in REPORTS if name.startswith("margin")] + ["cost_by_funding"]

    assert len(names) == 7
    for name in names:
        page = client.get(reverse("console:report", args=[name]), {"period": "2026-10"})
        assert page.status_code == 200, name
    answer = Client().get(
        "/v1/reports/margin?period=2026-10", headers={"authorization": f"Bearer {key}"}
    )
    (row,) = answer.json()["data"]
    assert (row["customer"], row["recognised"], row["supplier"]) == ("acme", "16.93", "13.00")


def test_one_customer_s_months_are_those_of_the_table(
    world: tuple[Shop, Subscription], october: AccountingPeriod
) -> None:
    customer = world[1].customer

    found = figures(margins.by_month_of(customer, date(2026, 8, 1), date(2026, 11, 1)))

    assert found == {("2026-10",): figures(margins.by_customer(october))["acme", "plan-acme"]}
