"""What governs is what its approver read: nothing joins a version on its way to approval."""

from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel import checks
from billing_project.kernel.approvals import is_as_proposed
from billing_project.kernel.canonical import canonical_json
from billing_project.kernel.errors import Conflict
from credits.models import PricingUnit, Rate, RateCard, RateCardVersion
from credits.selectors.contents import content_of_policy, content_of_rates
from credits.services.policies import propose_credit_policy
from tests.credits.builders import NOVEMBER, Shop, rate, words

pytestmark = pytest.mark.django_db


def _slip_in(version: RateCardVersion) -> Rate:
    return Rate.objects.create(
        version=version, meter_code="input", dimensions={"model": "small"},
        dimensions_key="slipped", unit_price=Decimal(0),
    )  # fmt: skip


def test_a_rate_that_slipped_into_a_proposal_keeps_it_from_approval(shop: Shop) -> None:
    version = shop.proposed([rate("input", "0.5")])
    _slip_in(version)

    with pytest.raises(Conflict, match="not what was proposed"):
        shop.approve(version.policy_change)


def test_rows_read_back_are_the_content_that_was_proposed(shop: Shop) -> None:
    version = shop.proposed([rate("output", "2.50"), rate("input", "1e-18", model="large")])
    policy = propose_credit_policy(proposal=words(NOVEMBER.start), by=shop.maker, at=shop.at)

    rates = content_of_rates(shop.card, 2, Rate.objects.filter(version=version))

    assert version.policy_change.content == canonical_json(rates)
    assert policy.policy_change.content == canonical_json(content_of_policy(policy))
    assert is_as_proposed(version.policy_change)
    assert is_as_proposed(policy.policy_change)


def test_the_books_tell_when_an_approved_version_was_changed(shop: Shop) -> None:
    assert not list(checks.versions_stand_as_approved())
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE rate DISABLE TRIGGER USER")
        cursor.execute("UPDATE rate SET unit_price = 0 WHERE meter_code = 'input'")
        cursor.execute("ALTER TABLE rate ENABLE ALWAYS TRIGGER keep_rows")

    [finding] = checks.versions_stand_as_approved()

    assert finding.message == "rate_card:standard:1 is not as approved"


def test_postgresql_keeps_the_unit_under_an_approved_version(shop: Shop) -> None:
    other = PricingUnit.objects.create(code="token", name="Token")

    for change in (
        lambda: RateCard.objects.update(pricing_unit=other),
        lambda: RateCard.objects.update(code="other"),
        lambda: PricingUnit.objects.update(code="other"),
        lambda: PricingUnit.objects.filter(pk=other.pk).delete(),
    ):
        with pytest.raises(DatabaseError, match="keeps its facts"), transaction.atomic():
            change()


def test_rate_cards_and_units_can_be_renamed(shop: Shop) -> None:
    assert RateCard.objects.update(name="Standard rates") == 1
    assert PricingUnit.objects.update(name="Credits") == 1
