"""Balances are folds of the ledger, now and at any instant of the past."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection

from billing_project.kernel import outbox
from credits.models import RatedUsage
from credits.selectors import UnitBalance, balance, ledger_history, rating_state
from credits.selectors.balances import Expiring
from credits.services.grants import void_grant
from tests.credits.builders import DAY_10, NOVEMBER, Shop

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _only(balances: list[UnitBalance]) -> UnitBalance:
    (one,) = balances
    return one


def test_a_balance_is_what_was_granted_less_what_was_drawn(shop: Shop) -> None:
    shop.grant("10")
    shop.use(input="6")
    shop.rate()

    now = _only(balance(shop.customer, shop.at))

    assert now == UnitBalance("credit", Decimal(7), Decimal(0), Decimal(7), ())


def test_nobody_has_a_balance_without_credits(shop: Shop) -> None:
    assert balance(shop.customer, shop.at) == []


def test_a_balance_of_the_past_is_what_was_known_then(shop: Shop) -> None:
    grant = shop.grant("10")
    shop.use(input="6")
    shop.rate(at=shop.at + HOUR)
    void_grant(grant=grant, reason_code="mistake", by=shop.maker, at=shop.at + DAY)

    instants = [shop.at - HOUR, shop.at, shop.at + HOUR, shop.at + DAY]
    known = [balance(shop.customer, at) for at in instants]

    assert known[0] == []  # The grant was recorded at `at`, though in force since the 1st.
    assert [_only(found).ledger for found in known[1:]] == [10, 7, 0]


def test_credits_that_are_not_in_force_are_not_there(shop: Shop) -> None:
    shop.grant("10", effective_at=shop.at + DAY)

    assert balance(shop.customer, shop.at) == []
    assert _only(balance(shop.customer, shop.at + DAY)).available == 10


def test_expired_credits_are_not_available_before_their_expiry_is_entered(shop: Shop) -> None:
    shop.grant("10", expires_at=DAY_10)
    shop.grant("4")

    now = _only(balance(shop.customer, shop.at))

    assert (now.ledger, now.available) == (Decimal(14), Decimal(4))


def test_what_expires_within_thirty_days_is_named(shop: Shop) -> None:
    soon = shop.grant("10", expires_at=NOVEMBER.end)
    shop.grant("4", expires_at=NOVEMBER.end + 90 * DAY)

    now = _only(balance(shop.customer, shop.at))

    assert now.expiring == (Expiring(soon.pk, Decimal(10), NOVEMBER.end),)


def test_a_workspace_has_the_common_credits_and_its_own(shop: Shop) -> None:
    prod, test = shop.workspace("prod"), shop.workspace("test")
    shop.grant("10")
    shop.grant("5", workspace=prod)

    assert _only(balance(shop.customer, shop.at, prod)).available == 15
    assert _only(balance(shop.customer, shop.at, test)).available == 10
    assert _only(balance(shop.customer, shop.at)).available == 15


def test_the_history_is_the_ledger_newest_first(shop: Shop) -> None:
    grant = shop.grant("10")
    shop.use(input="6")
    shop.rate()

    assert [entry.kind for entry in ledger_history(shop.customer)] == ["drawn", "granted"]
    assert ledger_history(grant=grant).count() == 2


def test_the_lag_is_how_long_usage_waits(shop: Shop) -> None:
    shop.rate()
    assert rating_state(shop.at).lag_seconds == 0

    outbox.publish("usage_changed", [shop.customer.pk], shop.at)

    assert rating_state(shop.at + timedelta(seconds=90)) == (shop.at, Decimal(90))


def test_overage_of_a_period_is_found_by_its_own_index(shop: Shop) -> None:
    waiting = RatedUsage.objects.filter(billing_period=shop.period()).exclude(overage=0)

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        plan = waiting.order_by("id").explain()
        cursor.execute("SET LOCAL enable_seqscan TO DEFAULT")

    assert "rated_usage_overage" in plan
