"""Plans and their proposed terms."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.approvals import approve
from billing_project.kernel.errors import Conflict, Invalid
from invoicing.models import Subscription
from invoicing.selectors import governing_plan_version
from invoicing.services.plans import create_plan, propose_plan_version
from invoicing.services.subscriptions import subscribe
from tests.invoicing.builders import (
    DAY,
    LAUNCH,
    START,
    Shop,
    customer_of,
    dollar_card,
    propose,
    sell_plan,
    terms,
    words,
)

pytestmark = pytest.mark.django_db


def test_the_same_plan_again_is_the_same_row(shop: Shop) -> None:
    plan = create_plan(code="growth", name="Growth", by=shop.maker, at=LAUNCH)

    assert create_plan(code="growth", name="Growth", by=shop.maker, at=START) == plan
    with pytest.raises(Conflict):
        create_plan(code="growth", name="Other", by=shop.maker, at=START)


def test_what_is_approved_is_the_whole_of_the_terms(shop: Shop) -> None:
    version = propose(shop)

    assert json.loads(version.policy_change.content) == {
        "plan": "starter", "number": 1, "currency": "USD", "fee_minor": 4900,
        "included_credits": "100", "overage_price": "0.012", "rate_card": "standard",
        "interval": "30 day", "grace_hours": 24, "payment_days": 30,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"currency": "XXQ"},
        {"fee_minor": -1},
        {"included_credits": Decimal("NaN")},
        {"included_credits": Decimal("0.0000000000001")},
        {"overage_price": Decimal(10) ** 15},
        {"interval_unit": "week"},
        {"interval_count": 0},
        {"grace_hours": 24 * 36},
        {"payment_days": -1},
    ],
)
def test_terms_out_of_bounds_are_refused(shop: Shop, changes: dict[str, Any]) -> None:
    plan = create_plan(code="odd", name="Odd", by=shop.maker, at=LAUNCH)

    with pytest.raises(Invalid):
        propose_plan_version(
            plan=plan, terms=replace(terms(shop), **changes), proposal=words(LAUNCH),
            by=shop.maker, at=LAUNCH,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"currency": "EUR", "overage_price": Decimal(1)}, "currency"),
        ({"overage_price": Decimal("0.012")}, "overage_price"),
    ],
)
def test_a_plan_on_rates_in_a_currency_claims_that_currency_as_it_is(
    shop: Shop, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        propose(shop, rate_card=dollar_card(shop), **changes)

    assert caught.value.field == field


def test_the_newest_approved_version_governs_from_its_date(shop: Shop) -> None:
    first = sell_plan(shop)
    second = propose_plan_version(
        plan=first.plan, terms=terms(shop, fee_minor=5900), proposal=words(START),
        by=shop.maker, at=LAUNCH,
    )  # fmt: skip

    assert governing_plan_version(first.plan, START) == first  # The second is only proposed.
    approve(change=second.policy_change, by=shop.approver, reason="new prices", at=LAUNCH)
    assert governing_plan_version(first.plan, START - DAY) == first
    assert governing_plan_version(first.plan, START) == second
    assert governing_plan_version(first.plan, LAUNCH - DAY) is None


def test_a_version_that_expired_is_sold_no_more_and_the_one_before_governs(shop: Shop) -> None:
    first = sell_plan(shop)
    offer = propose_plan_version(
        plan=first.plan, terms=terms(shop, fee_minor=900),
        proposal=replace(words(START), expires_at=START + DAY), by=shop.maker, at=LAUNCH,
    )  # fmt: skip
    approve(change=offer.policy_change, by=shop.approver, reason="one day", at=LAUNCH)

    assert governing_plan_version(first.plan, START) == offer
    assert governing_plan_version(first.plan, START + DAY) == first
    with pytest.raises(Conflict, match="does not govern"):
        subscribe(
            customer=customer_of(shop), plan_version=offer, start_at=START + DAY,
            by=shop.maker, at=START + DAY,
        )  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE plan_version SET fee_minor = 1 WHERE id = %s",
        "DELETE FROM plan_version WHERE id = %s",
    ],
)
def test_postgresql_keeps_terms(shop: Shop, statement: str) -> None:
    version = propose(shop)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, [version.pk])


def test_postgresql_refuses_to_sell_what_nobody_approved(shop: Shop) -> None:
    customer, version = customer_of(shop), propose(shop)

    with pytest.raises(DatabaseError, match="approved version"), transaction.atomic():
        Subscription.objects.create(
            customer=customer, plan_version=version, start_at=START, created_by=shop.maker,
            created_at=START,
        )  # fmt: skip
