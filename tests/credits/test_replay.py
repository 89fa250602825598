"""Credits are lived through again: what follows from the facts is found, and what does not."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from credits.models import CreditGrant
from credits.services.grants import expire_due_grants, void_grant
from credits.services.replaying import Replayed, replay_credits
from metering.services.adjust import cancel_event
from tests.credits.builders import DAY_10, NOVEMBER, Shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def lived(shop: Shop) -> Shop:
    """Return a shop whose grants were drawn, given back, covered with, voided and expired."""
    shop.grant("10", expires_at=DAY_10 + timedelta(hours=2))
    shop.grant("20", category="paid", price_minor=900)
    first = shop.use(input="30")
    shop.use(output="12", workspace="a")
    shop.use(input="3", workspace="b")
    shop.rate()
    shop.use(DAY_10 + timedelta(hours=1), input="8")
    cancel_event(customer=shop.customer, identifier=first, reason="test", by=shop.maker, at=shop.at)
    shop.rate()
    spare = shop.grant("5", priority=100)
    void_grant(grant=spare, reason_code="mistake", by=shop.maker, at=shop.at)
    expire_due_grants(by=shop.maker, at=shop.at)
    return shop


def _replay(shop: Shop) -> Replayed:
    return replay_credits(shop.customer.pk)


def _spoil(table: str, change: str, where: str) -> None:
    """Change a stored fact behind the guards' back."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(f"UPDATE {table} SET {change} WHERE {where}")
        assert cursor.rowcount == 1
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def test_what_was_rated_and_paid_follows_from_the_facts(lived: Shop) -> None:
    replayed = _replay(lived)

    assert replayed.differences == ()
    assert replayed.facts > 10
    assert replayed.before == 0


def test_a_grant_that_should_not_have_paid_is_found(lived: Shop) -> None:
    _spoil("credit_grant", "priority = 0", "amount = 20")

    found = _replay(lived).differences

    assert found[0].name == "drawn"
    first, second = CreditGrant.objects.order_by("pk")[:2]
    assert found[0].stored.startswith(f"10 of grant {first.pk}")
    assert found[0].recomputed == f"15 of grant {second.pk}"


def test_a_charge_that_its_rate_does_not_make_is_found(lived: Shop) -> None:
    _spoil("rated_usage", "charge = charge + 0.000000000001, overage = overage + 0.000000000001",
           "source_key = (SELECT min(source_key) FROM rated_usage WHERE charge > 0)")  # fmt: skip

    names = {one.name for one in _replay(lived).differences}

    assert {"charge", "overage"} <= names


def test_a_void_of_less_than_was_left_is_found(lived: Shop) -> None:
    _spoil("ledger_transaction", "credits = -4", "kind = 'voided'")

    found = [(one.name, one.stored, one.recomputed) for one in _replay(lived).differences]

    assert ("credits", "-4", "-5") in found


def test_a_cost_that_is_not_its_share_of_the_price_is_found(lived: Shop) -> None:
    _spoil("ledger_transaction", "cost_unrounded = 8.99", "kind = 'granted' AND cost_unrounded = 9")

    [found] = _replay(lived).differences

    assert (found.name, found.stored, found.recomputed) == ("cost", "8.99", "9")


def test_a_window_that_says_other_than_what_was_rated_is_found(lived: Shop) -> None:
    _spoil("usage_window", "quantity = quantity + 1",
           "id = (SELECT max(window_id) FROM rated_usage)")  # fmt: skip

    [found] = _replay(lived).differences

    assert found.name == "quantity rated"


def test_a_span_leaves_other_hours_out(lived: Shop) -> None:
    _spoil("rated_usage", "charge = charge + 1, overage = overage + 1",
           "source_key = (SELECT min(source_key) FROM rated_usage WHERE charge > 0)")  # fmt: skip
    customer, day = lived.customer.pk, timedelta(days=1)

    assert replay_credits(customer, start=DAY_10 - day, end=DAY_10 + day).differences
    assert not replay_credits(customer, start=DAY_10 + day).differences


def test_facts_from_before_they_kept_their_order_are_said(lived: Shop) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(position) FROM rated_usage")
        cursor.execute(f"COMMENT ON SEQUENCE credit_fact_position IS '{cursor.fetchone()[0]}'")
    out = StringIO()

    call_command("replay", all=True, stdout=out)

    assert "are from before facts kept their order" in out.getvalue()


def test_the_command_prints_both_values_and_fails(lived: Shop) -> None:
    _spoil("ledger_transaction", "credits = -4", "kind = 'voided'")
    out = StringIO()

    with pytest.raises(SystemExit) as stopped:
        call_command("replay", "--customer", "acme", "--start", f"{NOVEMBER.start:%Y-%m-%dT%H:%MZ}",
                     "--end", f"{NOVEMBER.end:%Y-%m-%dT%H:%MZ}", stdout=out)  # fmt: skip

    assert stopped.value.code == 1
    assert "acme  grant:" in out.getvalue()
    assert "credits: stored -4, recomputed -5" in out.getvalue()
