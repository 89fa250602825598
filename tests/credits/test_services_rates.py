"""Versions of rates and burn orders are proposed whole, and govern once somebody else approved."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from billing_project.kernel.approvals import is_as_proposed, reject
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyChange
from credits.models import PricingUnit
from credits.selectors import governing_credit_policy, governing_rate_card_version
from credits.services.policies import propose_credit_policy
from credits.services.rates import (
    Matrix,
    RateInput,
    create_pricing_unit,
    create_rate_card,
    propose_rate_card_version,
    rates_of_content,
    rates_of_matrix,
    rollback_rate_card,
)
from metering.models import Meter
from metering.services.meters import deactivate_meter
from tests.credits.builders import NOVEMBER, Shop, rate, tiered, words

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
    shop.version([rate("input", "8")], LATER)
    shop.version([rate("input", "9")], LATER - timedelta(days=2))

    first = governing_rate_card_version(shop.card, NOVEMBER.start)
    before = governing_rate_card_version(shop.card, LATER - timedelta(seconds=1))
    after = governing_rate_card_version(shop.card, LATER)

    assert [version and version.number for version in (first, before, after)] == [1, 3, 2]
    assert governing_rate_card_version(shop.card, NOVEMBER.start - timedelta(days=2)) is None


@pytest.mark.parametrize(
    ("rates", "field"),
    [
        ([], "rates"),
        ([rate("input", "1"), rate("nothing", "1")], "rates[1].meter_code"),
        ([rate("input", "1", region="eu")], "rates[0].dimensions.region"),
        ([RateInput("input", {"model": 5})], "rates[0].dimensions"),  # type: ignore[dict-item]
        ([rate("input", "-1")], "rates[0].unit_price"),
        ([rate("input", "0.0000000000000000001")], "rates[0].unit_price"),  # 19 decimals
        ([RateInput("input", {}, model="haggling")], "rates[0].model"),
        ([RateInput("input", {}, pools="family")], "rates[0].pools"),
        ([tiered("input", "volume", ("5", "1"), ("5", "2"), (None, "1"))],
         "rates[0].terms.tiers[1].up_to"),
        ([rate("input", "1"), rate("input", "2")], "rates[1].dimensions"),
        ([rate("input", "1", model="a"), rate("output", "1"), rate("input", "2", model="a")],
         "rates[2].dimensions"),
    ],
)  # fmt: skip
def test_rates_that_cannot_be_used_are_refused_by_field(
    shop: Shop, rates: list[RateInput], field: str
) -> None:
    before = PolicyChange.objects.count()

    with pytest.raises(Invalid) as caught:
        shop.proposed(rates)

    assert caught.value.field == field
    assert PolicyChange.objects.count() == before


def test_a_rate_of_a_meter_that_is_inactive_by_then_is_refused(shop: Shop) -> None:
    meter, ends = Meter.objects.get(code="output"), LATER + timedelta(days=20)
    deactivate_meter(meter=meter, reason="gone", by=shop.approver, at=shop.at, effective_at=ends)

    with pytest.raises(Invalid, match="inactive from 2026-11-26 00:00 UTC on") as caught:
        shop.proposed([rate("input", "1"), rate("output", "1")], ends)
    before = shop.proposed([rate("output", "1")], ends - timedelta(hours=1))

    assert caught.value.field == "rates[1].meter_code"
    assert before.number == 2


def test_an_ambiguity_names_both_rates(shop: Shop) -> None:
    with pytest.raises(Invalid, match=r'\{"model":"a"\} and \{"model":"a"\}'):
        shop.proposed([rate("input", "1", model="a"), rate("input", "2", model="a")])


def test_two_versions_of_a_card_never_begin_at_the_same_instant(shop: Shop) -> None:
    waiting = shop.proposed([rate("input", "1")], LATER)

    with pytest.raises(Conflict) as caught:
        shop.proposed([rate("input", "2")], LATER)
    reject(change=waiting.policy_change, by=shop.approver, reason="no", at=shop.at)
    shop.proposed([rate("input", "2")], LATER)

    assert (caught.value.code, caught.value.field) == ("overlap", "effective_at")


def test_what_a_rate_says_is_in_what_is_approved(shop: Shop) -> None:
    wanted = RateInput(
        "input", {}, model="graduated", pools="account", included=Decimal("10.0"),
        minimum=Decimal(5), maximum=Decimal("99.50"),
        terms={"tiers": [
            {"up_to": "5.0", "unit_price": "1.10"}, {"up_to": None, "unit_price": "1"},
        ]},
    )  # fmt: skip
    change = shop.version([wanted]).policy_change

    content = json.loads(change.content)
    assert content["rates"] == [
        {
            "meter_code": "input", "dimensions": {}, "model": "graduated", "pools": "account",
            "included": "10", "minimum": "5", "maximum": "99.5",
            "terms": {"tiers": [
                {"up_to": "5", "unit_price": "1.1"}, {"up_to": None, "unit_price": "1"},
            ]},
        }
    ]  # fmt: skip
    assert is_as_proposed(change)
    again = shop.version(rates_of_content(content), LATER).policy_change
    assert json.loads(again.content)["rates"] == content["rates"]


_GOOD: dict[str, object] = {"meter_code": "input", "unit_price": "1"}


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({}, "rates"),
        ([], "rates"),
        ({"rates": {"meter_code": "input"}}, "rates"),
        ({"rates": [_GOOD, "input"]}, "rates[1]"),
        ({"rates": [_GOOD, {"unit_price": "1"}]}, "rates[1].meter_code"),
        ({"rates": [{**_GOOD, "meter_code": ["input"]}]}, "rates[0].meter_code"),
        ({"rates": [{**_GOOD, "meter_code": "in\0put"}]}, "rates[0].meter_code"),
        ({"rates": [{**_GOOD, "unit": "token"}]}, "rates[0].unit"),
        ({"rates": [{"meter_code": "input"}]}, "rates[0].unit_price"),
        ({"rates": [{**_GOOD, "unit_price": 0.1}]}, "rates[0].unit_price"),
        ({"rates": [{**_GOOD, "unit_price": True}]}, "rates[0].unit_price"),
        ({"rates": [{**_GOOD, "unit_price": "NaN"}]}, "rates[0].unit_price"),
        ({"rates": [{**_GOOD, "unit_price": "0." + "0" * 18 + "1"}]}, "rates[0].unit_price"),
        ({"rates": [_GOOD, {**_GOOD, "included": "0.0000000000001"}]}, "rates[1].included"),
        ({"rates": [{**_GOOD, "model": {}}]}, "rates[0].model"),
        ({"rates": [{**_GOOD, "pools": ["account"]}]}, "rates[0].pools"),
        ({"rates": [{**_GOOD, "terms": []}]}, "rates[0].terms"),
        ({"rates": [{**_GOOD, "terms": {"matrix": []}}]}, "rates[0].terms.matrix"),
        ({"rates": [{**_GOOD, "dimensions": "model"}]}, "rates[0].dimensions"),
        ({"rates": [{**_GOOD, "dimensions": {"model": None}}]}, "rates[0].dimensions.model"),
        ({"rates": [{**_GOOD, "dimensions": {"model": "\0"}}]}, "rates[0].dimensions.model"),
        (
            {"rates": [{"meter_code": "input", "model": "volume", "terms": {"tiers": [3]}}]},
            "rates[0].terms.tiers[0]",
        ),
    ],
)
def test_content_of_another_shape_is_refused_with_its_row(
    shop: Shop, content: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        shop.proposed(rates_of_content(content))

    assert refused.value.field == field


def test_a_matrix_is_written_as_a_rate_for_each_cell(shop: Shop) -> None:
    matrix = Matrix(
        "by model", "input", ["model"], {("large",): Decimal(3), ("small",): Decimal("0.5")}
    )

    version = shop.proposed(rates_of_matrix(matrix))

    assert json.loads(version.policy_change.content)["rates"] == [
        {"meter_code": "input", "dimensions": {"model": "large"}, "unit_price": "3",
         "terms": {"matrix": "by model"}},
        {"meter_code": "input", "dimensions": {"model": "small"}, "unit_price": "0.5",
         "terms": {"matrix": "by model"}},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "axes", "cells", "field"),
    [
        (" ", ["model"], {("a",): Decimal(1)}, "name"),
        ("m", [], {}, "axes"),
        ("m", ["model", "model"], {("a", "b"): Decimal(1)}, "axes"),
        ("m", ["model"], {("a", "b"): Decimal(1)}, "cells"),
    ],
)
def test_a_matrix_that_has_no_shape_is_refused(
    name: str, axes: list[str], cells: dict[tuple[str, ...], Decimal], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        rates_of_matrix(Matrix(name, "input", axes, cells))

    assert caught.value.field == field


def test_a_rollback_is_a_new_version_with_the_old_rates(shop: Shop) -> None:
    shop.version([rate("input", "9")], LATER)

    version = rollback_rate_card(
        rate_card=shop.card, to_number=1, proposal=words(LATER + timedelta(days=1)),
        by=shop.maker, at=shop.at,
    )  # fmt: skip

    assert version.number == 3
    prices = version.rates.order_by("meter_code").values_list("meter_code", "unit_price")
    assert list(prices) == [("input", Decimal("0.5")), ("output", Decimal(2))]
    governing = governing_rate_card_version(shop.card, LATER + timedelta(days=2))
    assert governing is not None
    assert governing.number == 2  # Nobody approved the rollback yet.
    with pytest.raises(Invalid) as caught:
        rollback_rate_card(
            rate_card=shop.card, to_number=3, proposal=words(LATER + timedelta(days=2)),
            by=shop.maker, at=shop.at,
        )  # fmt: skip
    assert caught.value.field == "to_number"


def test_a_version_that_expires_leaves_the_one_before(shop: Shop) -> None:
    end = LATER + timedelta(days=2)
    version = propose_rate_card_version(
        rate_card=shop.card, rates=[rate("input", "9")], proposal=words(LATER, end),
        by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.approve(version.policy_change)

    found = [
        governing_rate_card_version(shop.card, at)
        for at in (LATER, end - timedelta(microseconds=1), end)
    ]

    assert [one and one.number for one in found] == [2, 2, 1]


def test_a_unit_may_be_a_currency_and_each_currency_has_one(shop: Shop) -> None:
    unit = create_pricing_unit(
        code="usd", name="Dollars", currency="USD", by=shop.maker, at=shop.at
    )

    assert unit.currency == "USD"
    for code, currency, error in (("usd2", "USD", Conflict), ("xx", "XX", Invalid)):
        with pytest.raises(error) as caught:
            create_pricing_unit(
                code=code, name="Other", currency=currency, by=shop.maker, at=shop.at
            )
        assert caught.value.field == "currency"


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


@pytest.mark.parametrize(
    ("code", "name", "field"),
    [
        ("", "Standard", "code"),
        ("x" * 65, "Standard", "code"),
        ("rate_override:1:2", "Standard", "code"),
        ("other", " ", "name"),
        ("other", "x" * 201, "name"),
    ],
)
def test_a_card_s_code_and_name_have_their_bounds(
    shop: Shop, code: str, name: str, field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        create_rate_card(
            code=code, name=name, pricing_unit=shop.card.pricing_unit, by=shop.maker, at=shop.at
        )

    assert caught.value.field == field
