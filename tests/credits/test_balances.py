"""What a customer has now is read in one query, and is what the fold over the ledger comes to."""

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from billing_project.kernel.errors import BillingError
from credits.models import CreditGrant
from credits.selectors import balance, balance_now
from credits.services.grants import expire_due_grants, expire_grant, void_grant
from credits.services.reinstating import reinstate_grant
from credits.services.replaying import replay_credits
from metering.services.adjust import cancel_event
from tests.credits.builders import DAY_10, Shop

pytestmark = pytest.mark.django_db
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
_LOOKS = (timedelta(0), 3 * MINUTE, 6 * MINUTE, 2 * DAY, 60 * DAY)

_DAYS = st.integers(-9, 5)
_PLACE = st.sampled_from(["", "a", "b"])
_GRANT = st.tuples(st.just("grant"), st.integers(1, 40), _DAYS, st.integers(1, 20), _PLACE)
_USE = st.tuples(st.just("use"), st.integers(1, 60), st.integers(-200, 5), _PLACE)
_CANCEL = st.tuples(st.just("cancel"), st.integers(0, 99))
_END = st.tuples(st.sampled_from(["void", "expire"]), st.integers(0, 99))
_DUE = st.tuples(st.just("due"))


def test_a_balance_now_is_one_query(
    shop: Shop, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(3):
        shop.grant("10")
    shop.use(input="4")
    shop.rate()

    with django_assert_num_queries(1):
        (found,) = balance_now(shop.customer, shop.at)

    assert (found.ledger, found.available) == (Decimal(28), Decimal(28))


def test_what_takes_effect_later_does_not_count_yet(shop: Shop) -> None:
    shop.grant("10")
    shop.grant("5", effective_at=shop.at + DAY)
    shop.use(shop.at + 5 * MINUTE, input="4")  # In the hour that began with `at`.
    shop.rate()

    before = balance_now(shop.customer, shop.at - MINUTE)

    assert before[0].ledger == 10
    assert balance_now(shop.customer, shop.at)[0].ledger == 8
    assert balance_now(shop.customer, shop.at + DAY)[0].ledger == 13


def test_what_was_taken_and_given_back_pays_for_earlier_use_from_then_on(shop: Shop) -> None:
    grant = shop.grant("10")
    void_grant(grant=grant, reason_code="test", by=shop.maker, at=DAY_10 - DAY)
    reinstate_grant(grant=grant, reason_code="test", by=shop.maker, at=DAY_10 + DAY)
    shop.use(DAY_10, input="4")
    shop.rate()

    looks = (DAY_10 - 2 * DAY, DAY_10, DAY_10 + DAY)
    assert [balance_now(shop.customer, at)[0].ledger for at in looks] == [10, 0, 8]
    assert replay_credits(shop.customer.pk).differences == ()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(_GRANT | _USE | _CANCEL | _END | _DUE, max_size=10))
def test_it_is_the_fold_whatever_happened(steps: list[tuple[object, ...]], shop: Shop) -> None:
    """Each example goes on where the last one ended: one long life."""
    events: list[str] = []
    for step, *how in steps:
        with suppress(BillingError):
            _live(shop, events, str(step), how)
    shop.rate()

    places = [None, shop.workspace("a"), shop.workspace("b")]
    for at in (shop.at + look for look in _LOOKS):
        for place in places:
            assert balance_now(shop.customer, at, place) == balance(shop.customer, at, place)
    in_the_end = balance(shop.customer, shop.at + 3_653 * DAY)
    guarded = CreditGrant.objects.aggregate(Sum("remaining", default=0))["remaining__sum"]
    assert sum(unit.ledger for unit in in_the_end) == guarded
    assert in_the_end == balance(shop.customer, shop.at + 3_653 * DAY, known_at=shop.at)


def _live(shop: Shop, events: list[str], step: str, how: list[object]) -> None:
    match step, how:
        case "grant", [int(amount), int(days), int(lasts), str(place)]:
            start = shop.at + days * DAY
            workspace = shop.workspace(place) if place else None
            shop.grant(
                str(amount), effective_at=start, expires_at=start + lasts * DAY, workspace=workspace
            )
        case "use", [int(amount), int(hours), str(place)]:
            moment = shop.at + hours * timedelta(hours=1) if hours < 0 else shop.at + hours * MINUTE
            events.append(shop.use(moment, workspace=place, input=str(amount)))
        case "cancel", [int(number)] if events:
            identifier = events.pop(number % len(events))
            cancel_event(
                customer=shop.customer, identifier=identifier, reason="test", by=shop.maker,
                at=shop.at,
            )  # fmt: skip
        case (("void" | "expire"), [int(number)]) if grants := list(CreditGrant.objects.all()):
            end = void_grant if step == "void" else expire_grant
            end(grant=grants[number % len(grants)], reason_code="test", by=shop.maker, at=shop.at)
        case "due", []:
            shop.rate()
            expire_due_grants(by=shop.maker, at=shop.at)
