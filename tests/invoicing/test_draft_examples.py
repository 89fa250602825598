"""What a person begins a draft with is a version of its kind, and is read to the letter."""

import json
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Group

from billing_project.kernel.drafts import draft, draftable, example_of, submit
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import PolicyStatus, User
from invoicing.services.plans import create_plan
from metering.models import Aggregation
from metering.services.customers import create_customer
from metering.services.meters import create_meter
from tests.invoicing.builders import DAY, LAUNCH, START, Shop, open_shop, words

pytestmark = pytest.mark.django_db
_FOR_GOOD = {"books_zone"}  # No version of these ends.


@pytest.fixture
def shop() -> Shop:
    """Return a shop in which everything exists that the examples name."""
    shop = open_shop()
    shop.maker.groups.add(Group.objects.get(name="product"))
    create_meter(
        code="input_tokens", name="Input tokens", event_name="llm_request",
        aggregation=Aggregation.SUM, value_property="input_tokens", dimensions=("model",),
        unit="token", by=shop.maker, at=LAUNCH,
    )  # fmt: skip
    create_plan(code="scale", name="Scale", by=shop.maker, at=LAUNCH)
    User.objects.create_user("demo")  # Who owns the alerts of an example.
    for name in ("cust-01", "cust-02"):
        create_customer(external_id=name, name=name, currency="USD", by=shop.maker, at=LAUNCH)
    return shop


def _submitted(shop: Shop, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    said = words(START)
    if kind not in _FOR_GOOD:
        said = replace(said, expires_at=START + 30 * DAY)
    kept = draft(kind=kind, content=content, proposal=said, by=shop.maker, at=START)
    made = submit(change=kept, by=shop.maker, at=START)
    assert made.status == PolicyStatus.SUBMITTED
    read: dict[str, Any] = json.loads(made.content)
    return read


@pytest.mark.parametrize("kind", draftable())
def test_an_example_is_a_version_as_it_stands(shop: Shop, kind: str) -> None:
    example = dict(example_of(kind))

    made = _submitted(shop, kind, example)

    assert {name: made.get(name, []) for name in example.keys() - {"rates"}} == {
        name: value for name, value in example.items() if name != "rates"
    }
    assert len(made.get("rates", [])) == len(example.get("rates", []))


@pytest.mark.parametrize("kind", draftable())
def test_a_misspelt_name_is_refused_and_never_lost(shop: Shop, kind: str) -> None:
    with pytest.raises(Invalid, match="custmer") as refused:
        _submitted(shop, kind, {**example_of(kind), "custmer": "cust-01"})

    assert refused.value.field == "custmer"


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("tax_rate", "is_inclusive", "true"),
        ("tax_rate", "has_reverse_charge", 1),
        ("tax_rate", "rate", "a fifth"),
        ("tax_rate", "rate", None),
        ("tax_rate", "name", ["VAT"]),
        ("invoice_policy", "approves_first", "yes"),
        ("invoice_policy", "invoices_covered", "no"),
        ("invoice_policy", "approval_above", {"EUR": "400"}),
        ("invoice_policy", "notes_above", [5000]),
        ("invoice_policy", "most_lines", "1000"),
        ("market_gate", "payout_days", True),
        ("market_gate", "threshold_minor", 1.5),
        ("market_gate", "registered_on", "2 January"),
        ("market_gate", "tax_number", 811128135),
        ("legal_entity", "address", ["Hafenstraße 1"]),
        ("legal_entity", "code", None),
        ("breakage", "sold_from", "January"),
        ("breakage", "method", "guess"),
        ("breakage", "rate", "a tenth"),
        ("breakage", "of_commitments", "yes"),
        ("variable_estimate", "customer", "nobody"),
        ("variable_estimate", "outcomes", []),
        ("variable_estimate", "outcomes", [{"amount": "31"}]),
        ("variable_estimate", "outcomes", [{"amount": "x", "probability": "1"}]),
        ("variable_estimate", "confidence", None),
        ("variable_estimate", "billed_minor", "31.00"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_field(
    shop: Shop, kind: str, name: str, value: object
) -> None:
    with pytest.raises(Invalid) as refused:
        _submitted(shop, kind, {**example_of(kind), name: value})

    assert refused.value.field == name
