"""Each kind of credits can be drafted; content of any shape becomes a version, or names a field."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_project.kernel.approvals import approve, is_as_proposed
from billing_project.kernel.drafts import draft, draftable, revise, submit
from billing_project.kernel.errors import BillingError, Conflict, Invalid
from billing_project.kernel.models import PolicyChange, PolicyStatus
from credits.models import GrantTerms
from credits.services.rates import RateInput, rates_of_content
from tests.credits.builders import NOVEMBER, Shop, words

pytestmark = pytest.mark.django_db
RATES = [
    {"meter_code": "input", "dimensions": {"model": "small"}, "unit_price": "0.25"},
    {
        "meter_code": "output", "dimensions": {}, "model": "graduated", "included": "5",
        "terms": {"tiers": [{"up_to": "10", "unit_price": "2"}, {"unit_price": "1"}]},
    },
]  # fmt: skip
CONTENTS: dict[str, dict[str, Any]] = {
    "rate_card": {
        "rate_card": "standard", "rates": RATES, "stays": [{"customer": "acme", "version": 1}],
    },
    "rate_override": {"customer": "acme", "base": "standard", "rates": RATES},
    "rate_migration": {"rate_card": "standard", "version": 1, "customers": ["acme"]},
    "credit_policy": {"code": "burn_order", "burn_order": ["expiry", "priority"]},
    "grant_terms": {
        "code": "monthly", "category": "included", "priority": 10, "life_days": 31,
        "is_pooled": True, "meter_codes": ["input"], "rollover": "fraction",
        "rollover_value": "0.5", "return_days": 7, "refund_rule": "unused",
    },
    "spend_limit": {
        "code": "daily", "customer": "acme", "workspace": None, "model": "large", "job": "",
        "api_key": None, "window": "day", "mode": "hard", "pricing_unit": "credit",
        "credits": "12.5",
    },
    "control_policy": {
        "customer": "acme", "overdraft": "capped", "overdraft_credits": "5", "retry_max": 3,
        "retry_seconds": 60, "premium_models": ["large"], "instead": {"large": "small"},
        "premium_workspaces": ["prod"], "premium_jobs": [], "premium_ceiling": "0.5",
    },
    "alert_rule": {
        "code": "low", "watched": "balance", "customer": "acme", "pricing_unit": "credit",
        "meter": None, "window": "", "threshold": "12.5", "floor": None, "owner": "mia.maker",
    },
    "model_exception": {"customer": "acme", "workspace": None, "model": "large", "job": "demo"},
}  # fmt: skip


def _drafted(shop: Shop, kind: str, content: dict[str, Any]) -> PolicyChange:
    said = words(NOVEMBER.start)
    if kind == "model_exception":
        said = replace(said, expires_at=NOVEMBER.end)
    return draft(kind=kind, content=content, proposal=said, by=shop.maker, at=shop.at)


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_draft_becomes_a_version_and_any_edit_voids_its_approval(shop: Shop, kind: str) -> None:
    first = submit(change=_drafted(shop, kind, CONTENTS[kind]), by=shop.maker, at=shop.at)
    assert is_as_proposed(first)

    edited = revise(change=first, by=shop.maker, reason="words", at=shop.at)
    second = submit(change=edited, by=shop.maker, at=shop.at)

    assert json.loads(second.content).items() >= _without_number(first).items()
    with pytest.raises(Conflict, match="withdrawn already"):
        approve(change=first, by=shop.approver, reason="the old one", at=shop.at)
    shop.approve(second)
    second.refresh_from_db()
    assert second.status == PolicyStatus.APPROVED
    assert is_as_proposed(second)


def _without_number(change: PolicyChange) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(change.content)
    content.pop("number", None)
    return content


def test_every_rule_of_credits_can_be_drafted() -> None:
    assert {*CONTENTS, "late_events", "plan"} <= set(draftable())


@pytest.mark.parametrize(
    ("kind", "change", "field"),
    [
        ("rate_card", {"rate_card": "none"}, "rate_card"),
        ("rate_card", {"rate_card": 7}, "rate_card"),
        ("rate_card", {"rates": [{**RATES[0], "meter_code": "none"}]}, "rates[0].meter_code"),
        ("rate_card", {"stays": [{"customer": "nobody"}]}, "stays"),
        ("rate_card", {"stays": "acme"}, "stays"),
        ("rate_override", {"customer": "nobody"}, "customer"),
        ("rate_override", {"base": None}, "base"),
        ("rate_migration", {"version": 9}, "version"),
        ("rate_migration", {"version": True}, "version"),
        ("rate_migration", {"customers": ["acme", "acme"]}, "customers"),
        ("rate_migration", {"customers": []}, "customers"),
        ("credit_policy", {"burn_order": ["luck"]}, "burn_order"),
        ("credit_policy", {"burn_order": [["expiry"]]}, "burn_order"),
        ("credit_policy", {"code": "other"}, "code"),
        ("grant_terms", {"priority": 101}, "priority"),
        ("grant_terms", {"priority": "high"}, "priority"),
        ("grant_terms", {"life_days": 10**9}, "life_days"),
        ("grant_terms", {"meter_codes": ["none"]}, "meter_codes"),
        ("grant_terms", {"rollover_value": "half"}, "rollover_value"),
        ("grant_terms", {"rollover_value": "2"}, "rollover_value"),
        ("grant_terms", {"is_pooled": "yes"}, "is_pooled"),
        ("grant_terms", {"category": None}, "category"),
        ("alert_rule", {"owner": "nobody"}, "owner"),
        ("alert_rule", {"meter": "none"}, "meter"),
        ("alert_rule", {"watched": "luck"}, "watched"),
        ("alert_rule", {"threshold": None}, "threshold"),
        ("spend_limit", {"customer": "nobody"}, "customer"),
        ("spend_limit", {"workspace": "nowhere"}, "workspace"),
        ("spend_limit", {"api_key": "none"}, "api_key"),
        ("spend_limit", {"window": "year"}, "window"),
        ("spend_limit", {"pricing_unit": "pearls"}, "pricing_unit"),
        ("spend_limit", {"credits": None}, "credits"),
        ("spend_limit", {"credits": "NaN"}, "credits"),
        ("spend_limit", {"credits": "0.0000000000001"}, "credits"),
        ("control_policy", {"overdraft": "off"}, "overdraft_credits"),
        ("control_policy", {"overdraft_credits": "Infinity"}, "overdraft_credits"),
        ("control_policy", {"overdraft_credits": "0"}, "overdraft_credits"),
        ("control_policy", {"retry_seconds": None}, "retry_seconds"),
        ("control_policy", {"instead": ["small"]}, "instead"),
        ("control_policy", {"instead": {"large": 1}}, "instead"),
        ("control_policy", {"premium_ceiling": "-1"}, "premium_ceiling"),
        ("model_exception", {"model": ""}, "model"),
        ("model_exception", {"workspace": "nowhere"}, "workspace"),
    ],
)  # fmt: skip
def test_a_draft_that_is_no_version_names_its_field(
    shop: Shop, kind: str, change: dict[str, Any], field: str
) -> None:
    row = _drafted(shop, kind, CONTENTS[kind] | change)

    with pytest.raises(Invalid) as refused:
        submit(change=row, by=shop.maker, at=shop.at)

    assert refused.value.field == field
    row.refresh_from_db()
    assert row.status == PolicyStatus.DRAFT


_TEXTS = st.sampled_from(
    ["", "input", "model", "per_unit", "graduated", "account", "1", "0.5", "-1", "NaN",
     "1e999999999", "1e-999999999", "Infinity", "\0", "\ud800", "x" * 300, "1e-19"]
)  # fmt: skip
_ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.decimals(), _TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["tiers", "up_to", "unit_price", "model", "\0"]), inner),
    ),
    max_leaves=6,
)
_NAMES = ("meter_code", "dimensions", "unit_price", "model", "terms", "included", "pools", "other")


def _broken(row: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(_NAMES), _ANYTHING, min_size=1, max_size=3).map(
        lambda change: row | change
    )


@settings(deadline=None, max_examples=300)
@given(content=st.one_of(_ANYTHING, st.fixed_dictionaries(
    {"rates": st.lists(st.one_of(_ANYTHING, *map(_broken, RATES)), max_size=3)}
)))  # fmt: skip
def test_content_of_any_shape_is_rates_or_names_a_field(content: Any) -> None:
    found: list[object] = []
    try:
        found += rates_of_content(content)
    except Invalid as error:
        found.append(error)
    assert all(
        isinstance(one, RateInput) or (isinstance(one, Invalid) and one.field) for one in found
    )


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_draft_of_any_shape_is_refused_or_proposed_but_never_breaks(
    shop: Shop, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(sorted(CONTENTS)))
    content = dict(CONTENTS[kind])
    if "rates" in content:
        content["rates"] = data.draw(st.lists(st.one_of(*map(_broken, RATES)), max_size=2))
    for name in data.draw(st.lists(st.sampled_from(sorted(content)), max_size=2)):
        content[name] = data.draw(_ANYTHING)
    count = PolicyChange.objects.count()

    try:
        change = _drafted(shop, kind, content)
    except BillingError:
        assert PolicyChange.objects.count() == count
        return
    refusals = []
    try:
        submit(change=change, by=shop.maker, at=shop.at)
    except BillingError as error:
        refusals.append(error)
    change.refresh_from_db()
    assert all(refused.field for refused in refusals)
    assert change.status == ("draft" if refusals else "submitted")


def test_terms_are_what_the_draft_said(shop: Shop) -> None:
    submit(change=_drafted(shop, "grant_terms", CONTENTS["grant_terms"]), by=shop.maker, at=shop.at)

    terms = GrantTerms.objects.get(code="monthly")

    assert (terms.priority, terms.life_days, terms.return_days) == (10, 31, 7)
    assert (terms.meter_codes, terms.rollover) == (["input"], "fraction")
