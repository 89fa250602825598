"""PostgreSQL lets no version govern by a change that was approved as something else."""

from collections.abc import Callable

import pytest
from django.db import DatabaseError, transaction

from billing_project.kernel.approvals import propose
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import PolicyChange
from credits.models import CreditPolicy, GrantTerms, RateCardVersion, RatePin
from credits.selectors.contents import content_of_pins, content_of_rates
from credits.services.rates import create_rate_card, propose_rate_card_version
from tests.credits.builders import NOVEMBER, Shop, make_customer, rate, words

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


def _pinned(shop: Shop, change: PolicyChange, **words: object) -> RatePin:
    wanted = {"customer": shop.customer, "rate_card": shop.card, "policy_change": change, **words}
    return RatePin.objects.create(**wanted)


def test_nobody_is_moved_to_another_version_than_was_read(shop: Shop) -> None:
    """Its content says one version for all: a row of another one is not what was proposed."""
    read, hidden = shop.card.versions.get(), shop.version([rate("input", "0.01")])
    beta = make_customer("beta", shop.maker, shop.at)
    change = propose(
        kind="rate_migration", subject="rate_migration:x:1", proposal=words(NOVEMBER.start),
        content=content_of_pins(shop.card, read, ["acme", "beta"]), by=shop.maker, at=shop.at,
    )  # fmt: skip
    _pinned(shop, change, version=hidden, customer=beta)
    _pinned(shop, change, version=read)

    with pytest.raises(Conflict, match="not what was proposed"):
        shop.approve(change)


def test_nobody_stays_at_a_version_of_another_card_than_was_read(shop: Shop) -> None:
    """What is read of who stays is the number of a version: that of the card itself."""
    other = create_rate_card(
        code="cheap", name="Cheap", pricing_unit=shop.unit, by=shop.maker, at=shop.at
    )
    hidden = propose_rate_card_version(
        rate_card=other, rates=[rate("input", "0.01")], proposal=words(NOVEMBER.start),
        by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.approve(hidden.policy_change)
    read = RatePin(customer=shop.customer, version=shop.card.versions.get())
    change = propose(
        kind="rate_card", subject="rate_card:x:9", by=shop.maker, at=shop.at,
        content=content_of_rates(shop.card, 9, [], [read]),
        proposal=words(NOVEMBER.start),
    )  # fmt: skip
    RateCardVersion.objects.create(rate_card=shop.card, number=9, policy_change=change)
    _pinned(shop, change, rate_card=other, version=hidden)

    with pytest.raises(Conflict, match="not what was proposed"):
        shop.approve(change)
