"""Versions of rates and burn orders are proposed whole, and govern once somebody else approved."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from billing_project.kernel.errors import Conflict, Invalid
from credits.models import PricingUnit
from credits.selectors import governing_credit_policy, governing_rate_card_version
from credits.services.policies import propose_credit_policy
from credits.services.rates import create_pricing_unit, create_rate_card
from tests.credits.builders import NOVEMBER, Shop, rate, words

pytestmark = pytest.mark.django_db
LATER = NOVEMBER.start + timedelta(days=5)


def test_what_is_approved_is_the_whole_version_in_canonical_form(shop: Shop) -> None:
    version = shop.proposed(
        [rate("output", "2.50"), rate("input", "0.000400", model="large")], LATER
    )

    content = json.loads(version.policy_change.content)
    assert content == {
        "number": 2,
        "pricing_unit": "credit",
        "rate_card": "standard",
        "rates": [
            {"dimensions": {"model": "large"}, "meter_code": "input", "unit_price": "0.0004"},
            {"dimensions": {}, "meter_code": "output", "unit_price": "2.5"},
        ],
    }
    assert version.policy_change.subject == "rate_card:standard:2"


def test_a_proposed_version_does_not_govern(shop: Shop) -> None:
    shop.proposed([rate("input", "9")], LATER)

    version = governing_rate_card_version(shop.card, LATER)

    assert version is not None
    assert version.number == 1


def test_the_approved_version_with_the_latest_effective_date_governs(shop: Shop) -> None:
    shop.version([rate("input", "9")], LATER)
    shop.version([rate("input", "8")], LATER)

    before = governing_rate_card_version(shop.card, LATER - timedelta(seconds=1))
    after = governing_rate_card_version(shop.card, LATER)

    assert before is not None
    assert before.number == 1
    assert after is not None
    assert after.number == 3  # Equal dates: the later number.
    assert governing_rate_card_version(shop.card, NOVEMBER.start - timedelta(days=1)) is None


@pytest.mark.parametrize(
    "rates",
    [
        [],
        [rate("nothing", "1")],
        [rate("input", "1", region="eu")],  # The meter has no such dimension.
        [rate("input", "-1")],
        [rate("input", "NaN")],
        [rate("input", "1e15")],
        [rate("input", "0.0000000000000000001")],  # 19 decimals
        [rate("input", "1"), rate("input", "2")],
        [rate("input", "1", model="large"), rate("input", "2", model="large")],
    ],
)
def test_rates_that_cannot_be_used_are_refused(shop: Shop, rates: list[object]) -> None:
    with pytest.raises(Invalid):
        shop.proposed(rates)  # type: ignore[arg-type]


def test_units_and_cards_are_made_once(shop: Shop) -> None:
    unit = create_pricing_unit(code="credit", name="Credit", by=shop.maker, at=shop.at)
    card = create_rate_card(
        code="standard", name="Standard", pricing_unit=unit, by=shop.maker, at=shop.at
    )

    assert (unit, card) == (shop.unit, shop.card)
    assert PricingUnit.objects.count() == 1


def test_a_code_that_is_taken_is_refused(shop: Shop) -> None:
    with pytest.raises(Conflict):
        create_pricing_unit(code="credit", name="Token", by=shop.maker, at=shop.at)
    with pytest.raises(Conflict):
        create_rate_card(
            code="standard", name="Other", pricing_unit=shop.unit, by=shop.maker, at=shop.at
        )


@pytest.mark.parametrize("order", [[], ["priority", "priority"], ["mood"]])
def test_a_burn_order_names_known_keys_once(shop: Shop, order: list[str]) -> None:
    with pytest.raises(Invalid):
        propose_credit_policy(burn_order=order, proposal=words(shop.at), by=shop.maker, at=shop.at)


def test_the_approved_burn_order_decides_which_grant_is_used(shop: Shop) -> None:
    shop.policy(["created"], NOVEMBER.start)
    first = shop.grant("10", priority=99)
    shop.grant("10", priority=1)
    shop.use(input="4")

    shop.rate()

    first.refresh_from_db()
    assert first.remaining == Decimal(8)
    policy = governing_credit_policy(NOVEMBER.start)
    assert policy is not None
    assert policy.burn_order == ["created"]
