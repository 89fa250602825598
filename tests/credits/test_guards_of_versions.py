"""PostgreSQL lets no version govern by a change that was approved as something else."""

from collections.abc import Callable

import pytest
from django.db import DatabaseError, transaction

from billing_project.kernel.approvals import propose
from billing_project.kernel.models import PolicyChange
from credits.models import CreditPolicy, GrantTerms, RateCardVersion, RatePin
from tests.credits.builders import NOVEMBER, Shop, rate, words

pytestmark = pytest.mark.django_db
Insert = Callable[[Shop, PolicyChange], object]


def _rates(shop: Shop, change: PolicyChange) -> object:
    return RateCardVersion.objects.create(rate_card=shop.card, number=9, policy_change=change)


def _pin(shop: Shop, change: PolicyChange) -> object:
    return RatePin.objects.create(
        customer=shop.customer, rate_card=shop.card, version=None, policy_change=change
    )


def _order(shop: Shop, change: PolicyChange) -> object:
    return CreditPolicy.objects.create(
        code="burn_order", number=9, burn_order=["created"], policy_change=change
    )


def _terms(shop: Shop, change: PolicyChange) -> object:
    return GrantTerms.objects.create(
        code="included", number=9, category="included", policy_change=change
    )


@pytest.mark.parametrize("insert", [_rates, _pin, _order, _terms])
def test_a_version_joins_no_change_of_another_kind(shop: Shop, insert: Insert) -> None:
    waiting = propose(
        kind="credit_note", subject="credit_note:1", content={}, by=shop.maker, at=shop.at,
        proposal=words(NOVEMBER.start),
    )  # fmt: skip

    with pytest.raises(DatabaseError, match="its own kind"), transaction.atomic():
        insert(shop, waiting)


def test_a_version_joins_no_change_that_was_decided(shop: Shop) -> None:
    rates = shop.version([rate("input", "1")]).policy_change
    order = shop.policy().policy_change

    for insert, decided in ((_rates, rates), (_order, order)):
        with pytest.raises(DatabaseError, match="its own kind"), transaction.atomic():
            insert(shop, decided)
