"""Scenarios on a shop's own plans and usage: as its invoices and its books say, and on a page."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from billing_project.console.navigation import lineage_url
from billing_project.console.scenarios import compare
from billing_project.kernel.approvals import Proposal
from billing_project.kernel.drafts import draft
from billing_project.kernel.errors import Invalid
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import PolicyChange, PolicyEvidence, User
from credits.mixes import Mix, presets
from credits.supplier_prices import SupplierPrice, TokenKind
from invoicing.models import Invoice, Subscription
from invoicing.services.invoices import finalize_due
from invoicing.services.overage import draft_overage_invoices
from revrec.models import Posting
from revrec.scenario import Trigger
from revrec.services.recognise import recognise_customer
from tests.console.backoffice import client_of
from tests.console.chain import CLOSED_AT, USED_AT
from tests.credits.pricing import supplier_prices
from tests.invoicing.builders import (
    START,
    Shop,
    dollar_card,
    open_shop,
    propose,
    subscribed,
    use,
)
from tests.worlds import standing

pytestmark = pytest.mark.django_db
SMALL = (("small", Decimal(1)),)


@dataclass(frozen=True)
class World:
    shop: Shop
    subscription: Subscription
    cheaper: PolicyChange  # A proposed plan at USD 20.00 with 50 credits.

    @property
    def plan(self) -> PolicyChange:
        return self.subscription.plan_version.policy_change


def make_world() -> World:
    """Let acme use 180 tokens in its first period, at a supplier's price of USD 0.10 each."""
    shop = open_shop()
    supplier_prices(
        [SupplierPrice("acme", "small", TokenKind.OUTPUT, Decimal("0.1"))],
        START,
        shop.maker,
        shop.approver,
    )
    subscription = subscribed(shop)
    use(shop, 80, USED_AT)
    use(shop, 100, USED_AT + timedelta(days=3), "req-2")
    cheaper = propose(shop, "cheaper", fee_minor=2_000, included_credits=Decimal(50))
    return World(shop, subscription, cheaper.policy_change)


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    with (
        override_settings(BILLING_CLOCK=CLOSED_AT.isoformat()),
        standing(make_world, django_db_blocker) as world,
    ):
        yield world


@pytest.fixture
def world(made: World, db: None, settings: Any) -> World:
    settings.BILLING_CLOCK = CLOSED_AT.isoformat()
    return deepcopy(made)


def test_a_customers_period_comes_to_what_its_invoices_and_its_books_say(world: World) -> None:
    customer = world.subscription.customer

    report = compare([world.plan], None, [], customer, CLOSED_AT)
    draft_overage_invoices(by=world.shop.maker, at=CLOSED_AT)
    finalize_due(by=world.shop.maker, at=CLOSED_AT)
    recognise_customer(customer_id=customer.pk, by=world.shop.worker, at=CLOSED_AT)

    (row,) = report.rows
    invoices = Invoice.objects.filter(customer=customer, service_start_at__lt=START + timedelta(30))
    # 49.00 and 80 beyond at 0.012 = 0.96.
    assert row.outcome.bill.total.amount_minor == sum(one.total_minor for one in invoices) == 4_996
    revenue = Posting.objects.filter(
        customer=customer, account__code__startswith="40", service_start_on__lt="2026-11-20"
    )
    assert -sum(one.amount_minor for one in revenue) == row.outcome.revenue.amount_minor == 4_996
    # 180 tokens at 0.10 = 18.00. 80 tokens on the third day, 180 on the sixth: 100 are included.
    assert row.outcome.margin.cost == Decimal(18)
    assert row.outcome.spent_on_day == 6


def test_plans_stand_side_by_side_scenario_by_scenario(world: World) -> None:
    # 1 MTok, all output: 1,000,000 credits for USD 100,000.00 of tokens.
    heavy = Mix("heavy", 1, Decimal(1), Decimal(100), Decimal(0), SMALL)
    light = Mix("light", 1, Decimal("0.0001"), Decimal(100), Decimal(0), SMALL)  # 100 tokens.

    report = compare([world.plan, world.cheaper], None, [light, heavy], None, CLOSED_AT)

    seen = [(row.outcome.workload.name, row.terms.worth.fee_minor) for row in report.rows]
    assert seen == [("light", 4900), ("light", 2000), ("heavy", 4900), ("heavy", 2000)]
    first = report.rows[0].outcome
    assert (first.workload.charge, first.margin.cost) == (Decimal(100), Decimal(10))
    assert Trigger.UNDER_WATER in report.rows[2].outcome.triggers
    # 0.012 a credit beyond, that costs 0.10.
    assert Trigger.LOSING_OVERAGE in report.rows[2].outcome.triggers


def test_what_has_no_price_is_named(world: World) -> None:
    found = compare([world.plan], None, presets((("other", Decimal(1)),)), None, CLOSED_AT)

    assert found.rows[0].outcome.workload.uncosted == (
        "other cached_input", "other input", "other output",
    )  # fmt: skip
    assert "other output" in found.document.basis


def test_figures_are_in_the_money_of_their_plan_and_rates_in_the_unit_of_its_card(
    world: World,
) -> None:
    euro = propose(world.shop, "euro", currency="EUR").policy_change
    dollars = dollar_card(world.shop).versions.get().policy_change

    found = compare([world.plan, euro], None, presets(SMALL), None, CLOSED_AT)

    assert "Money in USD and in EUR, each row's as its terms." in found.document.basis
    with pytest.raises(Invalid, match="another unit") as refused:
        compare([world.plan], dollars, presets(SMALL), None, CLOSED_AT)
    assert refused.value.field == "rates"


def test_a_draft_that_says_no_terms_is_refused_with_its_field(world: World) -> None:
    words = Proposal("Later", "Wanted", "None", "price", CLOSED_AT)
    empty = draft(
        kind="plan", content={"plan": "starter"}, proposal=words, by=world.shop.maker, at=CLOSED_AT
    )

    odd = {
        "plan": "starter", "rate_card": world.shop.rate_card.code, "currency": "USD",
        "fee_minor": 1, "included_credits": "1", "overage_price": "1", "interval": 5,
    }  # fmt: skip
    other = draft(kind="plan", content=odd, proposal=words, by=world.shop.maker, at=CLOSED_AT)
    for change in (empty, other):
        with pytest.raises(Invalid) as refused:
            compare([change], None, presets(SMALL), None, CLOSED_AT)
        assert refused.value.field == "plan"


def test_the_page_compares_and_attaches_to_the_open_proposal(
    world: World, maker: User, auditor: User
) -> None:
    asked = {
        "plan": str(world.plan.pk), "beside": str(world.cheaper.pk), "models": "small 1",
        "customer": "acme", "megatokens": "2", "output_percent": "50",
    }  # fmt: skip
    url = f"{reverse('console:scenarios')}?" + "&".join(f"{k}={v}" for k, v in asked.items())

    shown = client_of(auditor).get(url)
    refused = client_of(auditor).post(url, {"change": world.cheaper.pk})
    done = client_of(maker).post(url, {"change": world.cheaper.pk})
    page = client_of(auditor).get(done["Location"]).content.decode()

    assert [row["cells"][0][1] for row in shown.context["rows"]] == [
        name for name in ("low", "medium", "heavy", "own", "acme") for _ in range(2)
    ]
    assert "heavy user under water" in shown.content.decode()
    assert "Attach to" not in shown.content.decode()
    assert refused.status_code == 403
    evidence = PolicyEvidence.objects.get(change=world.cheaper)
    assert len(evidence.document["rows"]) == 10
    assert "Loses from credits" in page


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"plan": "0"}, "plan"),
        ({"models": "small x"}, "models"),
        ({"megatokens": "1", "output_percent": "101"}, "output_percent"),
        ({"customer": "nobody"}, "customer"),
    ],
)
def test_nonsense_is_marked_at_its_field(
    world: World, auditor: User, said: dict[str, str], field: str
) -> None:
    shown = client_of(auditor).get(reverse("console:scenarios"), said)

    assert shown.status_code == 200
    assert field in shown.context["form"].errors
    assert "rows" not in shown.context


@pytest.mark.parametrize("change", ["", "abc", "9" * 40, "0"])
def test_a_proposal_that_is_none_is_said_so(world: World, maker: User, change: str) -> None:
    answer = client_of(maker).post(reverse("console:scenarios"), {"change": change}, follow=True)

    assert "choose a proposal" in answer.content.decode()
    assert not PolicyEvidence.objects.exists()


def test_scenarios_are_run_attached_and_read_over_the_api(world: World) -> None:
    token = create_api_key(name="product", scopes=["admin"], at=CLOSED_AT)[1]
    client = Client(headers={"Authorization": f"Bearer {token}"})
    said: dict[str, Any] = {
        "plans": [world.plan.pk, world.cheaper.pk], "presets": False,
        "models": [{"model": "small"}],
        "mixes": [{"name": "light", "calls": 1, "megatokens": "0.0001", "output_percent": "100"}],
    }  # fmt: skip

    def post(**more: Any) -> Any:
        return client.post("/v1/scenarios", {**said, **more}, content_type="application/json")

    answer = post()
    assert answer.status_code == 200, answer.content
    assert answer.json()["id"] is None
    assert [row["Scenario"] for row in answer.json()["rows"]] == ["light", "light"]
    assert not PolicyEvidence.objects.exists()

    kept = post(attach_to=world.cheaper.pk)
    assert (kept.status_code, kept.json()["rows"]) == (201, answer.json()["rows"])
    assert kept.json()["change"] == f"{world.cheaper.pk}"
    (listed,) = client.get(f"/v1/scenarios?change={world.cheaper.pk}").json()["data"]
    assert client.get(f"/v1/scenarios/{listed['id']}").json() == listed == kept.json()
    assert post(attach_to=world.plan.pk).status_code == 409  # Decided already.
    assert post(plans=[0]).status_code == post(mixes=[]).status_code == 422
    bad = [{"name": "x", "calls": 1, "megatokens": "1", "output_percent": "101"}]
    assert post(mixes=bad).status_code == 422


def test_what_events_cost_sums_to_the_costs_of_their_windows(world: World) -> None:
    # 80 and 100 tokens at 0.10: 8 and 10, the 18 of the margin above.
    token = create_api_key(name="finance", scopes=["invoices:read"], at=CLOSED_AT)[1]
    client = Client(headers={"Authorization": f"Bearer {token}"})
    costs = [
        client.get(f"/v1/event_costs?customer=acme&identifier={name}").json()
        for name in ("req-1", "req-2")
    ]

    assert [(one["currency"], one["amount"], one["is_whole"]) for one in costs] == [
        ("USD", "8", True), ("USD", "10", True),
    ]  # fmt: skip
    (part,) = costs[0]["parts"]
    assert (part["model"], part["token_kind"], part["quantity"]) == ("small", "output", "80")
    assert (part["unit_price"], part["supplier"], part["sheet"]) == ("0.1", "acme", 1)
    assert client.get("/v1/event_costs?customer=acme&identifier=none").status_code == 404


def test_an_events_page_says_what_it_costs(world: World, auditor: User) -> None:
    page = client_of(auditor).get(lineage_url("event", "acme/req-1"))

    assert b"What it costs us: 8 USD" in page.content
