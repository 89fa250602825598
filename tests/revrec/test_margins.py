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

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from credits.selectors.supplier_costs import costs_by_day
from credits.services.grants import issue_grant
from credits.services.periods import open_billing_period
from credits.services.rates import RateInput as RateOfUse
from credits.services.rates import (
    create_pricing_unit,
    create_rate_card,
    propose_rate_card_version,
)
from credits.supplier_prices import SupplierPrice, TokenKind
from invoicing.models import Subscription
from invoicing.services.invoices import finalize_due
from metering.services.customers import create_customer
from revrec.margins import (
    Exchange,
    is_below_floor,
    percent_text,
    rates_text,
    settled,
    share_text,
    shared,
)
from revrec.models import AccountingPeriod
from revrec.reporting import Table
from revrec.selectors.tables import REPORTS, margins
from revrec.services.exchange import RateInput, propose_rates
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


def test_costs_are_exchanged_as_the_rate_was_approved() -> None:
    # 13.00 at 0.92, and at one over 1.25.
    direct, inverse = Exchange(Decimal("0.92")), Exchange(Decimal("1.25"), is_inverse=True)

    assert (direct.of(Decimal(13)), inverse.of(Decimal(13))) == (Decimal("11.96"), Decimal("10.4"))
    assert rates_text([direct, inverse, direct], is_whole=True) == "1/1.25 to 0.92"
    assert rates_text([inverse], is_whole=True) == "1/1.25"
    assert rates_text([], is_whole=True) == "-"
    assert rates_text([direct], is_whole=False) == "no rate"


@given(st.integers(-(10**9), 10**9), st.dictionaries(st.integers(0, 9), AMOUNTS))
def test_shares_sum_to_the_revenue(amount: int, charges: dict[int, Decimal]) -> None:
    assert sum(shared(amount, charges, -1).values()) == amount


@given(st.dictionaries(st.integers(0, 9), AMOUNTS))
def test_rounded_costs_sum_to_the_rounded_total(costs: dict[int, Decimal]) -> None:
    whole = sum(costs.values(), Decimal(0)).quantize(Decimal("0.01"), "ROUND_HALF_UP")

    assert sum(settled(costs, "USD").values()) == int(whole * 100)


def test_many_small_costs_are_not_rounded_away() -> None:
    cost = Decimal("0.004")

    assert settled(dict.fromkeys(range(3), cost), "USD") == {0: 1, 1: 0, 2: 0}  # 0.012
    assert sum(settled(dict.fromkeys(range(1_000), cost), "USD").values()) == 400  # 4.00
    assert settled({0: cost}, "USD") == {0: 0}  # On the customer's own page.


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
    shares = {"margin_percent", "cached_share", "output_share", "rate"}
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
    said = found["promotional"].labels
    assert (said["credits"], said["unit"]) == ("30", "credit")


def test_credits_of_several_units_are_not_added_up(
    world: tuple[Shop, Subscription], october: AccountingPeriod
) -> None:
    shop, maker = world[0], world[0].maker
    other = create_customer(external_id="other", name="Other", currency="USD", by=maker, at=START)
    unit = create_pricing_unit(code="image-credit", name="Images", by=maker, at=START)
    card = create_rate_card(code="images", name="Images", pricing_unit=unit, by=maker, at=START)
    version = propose_rate_card_version(
        rate_card=card, rates=[RateOfUse("output_tokens", {}, Decimal(2))], by=maker, at=START,
        proposal=Proposal("rates", "wanted", "done", "test", START),
    )  # fmt: skip
    approve(change=version.policy_change, by=shop.approver, reason="so", at=START)
    open_billing_period(
        customer=other, rate_card=card, period=Period(START, START + timedelta(days=30)),
        source_key="test:other", at=START,
    )  # fmt: skip
    use(shop, 10, USED_AT, "req-9", customer="other")

    # USD 0.10 a token of small; two credits each of another kind, which no grant covers.
    rows = {
        (row.labels["paid_by"], row.labels["unit"]): (
            row.labels["credits"],
            row.texts()["supplier"],
        )
        for row in margins.by_funding(october).rows
    }
    assert rows["overage unbilled", "credit"] == ("50", "2.50")
    assert rows["overage unbilled", "image-credit"] == ("20", "1.00")


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


def rates(shop: Shop, pair: tuple[str, str], **by_day: str) -> None:
    """Approve rates between two currencies, each from a day of October on; d22="1.2"."""
    sheet = propose_rates(
        source="a bank", end_on=date(2026, 10, 24), by=shop.maker, at=START,
        proposal=Proposal("rates", "wanted", "done", "test", START),
        rates=[
            RateInput(*pair, date(2026, 10, int(day[1:])), Decimal(value))
            for day, value in by_day.items()
        ],
    )  # fmt: skip
    approve(change=sheet.policy_change, by=shop.approver, reason="read", at=START)


@pytest.fixture
def euros(world: tuple[Shop, Subscription]) -> Shop:
    """Let suppliers' prices be in euros, EUR 13.00 for what was used on 23 October."""
    shop = world[0]
    prices = (("small", "0.1"), ("large", "0.05"), ("x", "1"), ("y", "1"))
    supplier_prices(
        [SupplierPrice("acme", model, TokenKind.OUTPUT, Decimal(text)) for model, text in prices],
        START, shop.maker, shop.approver, "EUR",
    )  # fmt: skip
    return shop


@pytest.mark.parametrize(
    ("pair", "value", "text"),
    [(("EUR", "USD"), "1.25", "1.25"), (("USD", "EUR"), "0.8", "1/0.8")],
)
def test_costs_in_another_currency_are_exchanged_at_the_rate_of_their_day(
    euros: Shop, october: AccountingPeriod, pair: tuple[str, str], value: str, text: str
) -> None:
    rates(euros, pair, d22="2", d23=value)

    # EUR 13.00 x 1.25 = USD 16.25 of 16.93: 0.68 are left, 4.0 %.
    (row,) = margins.by_customer(october).rows
    assert row.texts() | {"cached_share": "", "output_share": ""} == {
        "customer": "acme", "plan": "plan-acme", "margin_percent": "4.0", "cached_share": "",
        "output_share": "", "rate": text, "currency": "USD", "recognised": "16.93",
        "supplier": "16.25", "margin": "0.68",
    }  # fmt: skip
    assert figures(margins.by_day(october))["2026-10-23",] == (163 + 60, 1_625)
    by_model = figures(margins.by_model(october))
    # EUR 8.00 and 5.00.
    assert {key: cost for key, (_, cost) in by_model.items()} == {("large",): 625, ("small",): 1000}
    assert "exchanged" in margins.by_model(october).notes[-1]
    assert list(figures(margins.below_floor(october))) == [("acme", "plan-acme")]


def test_no_margin_is_said_where_a_rate_lacks(
    euros: Shop, october: AccountingPeriod, auditor: User
) -> None:
    rates(euros, ("GBP", "USD"), d22="2")

    table = margins.by_customer(october)

    told = [
        (r.currency, r.labels["rate"], *(r.texts()[name] for name in margins.FIGURES))
        for r in table.rows
    ]
    assert told == [
        ("EUR", "no rate", "0.00", "13.00", "no rate"),
        ("USD", "no rate", "16.93", "0.00", "no rate"),
    ]
    assert [row.labels["margin_percent"] for row in table.rows] == ["-", "-"]
    assert "EUR and USD is approved for 2026-10-23" in table.notes[-1]
    assert figures(margins.below_floor(october)) == {}
    page = client_of(auditor).get(reverse("console:report", args=["margin"]), {"period": "2026-10"})
    assert page.content.decode().count("no rate") >= 4


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
