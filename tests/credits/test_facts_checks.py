"""What was written together is held against each other: no column of a fact changes unseen."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction

from billing_project.kernel.period import Period
from credits import facts_checks as checks
from credits.models import CreditGrant
from credits.services.clawing import claw_back
from credits.services.grants import expire_grant, void_grant
from credits.services.recurring import create_recurring_grant, give_recurring_grants
from credits.services.reinstating import reinstate_grant
from credits.services.replaying import replay_credits
from credits.services.terms import TermsInput, propose_grant_terms
from metering.services.adjust import cancel_event
from tests.credits.builders import DAY_10, NOVEMBER, Shop, words

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
ALL = (
    checks.grants_say_what_filled_them, checks.links_are_their_origins,
    checks.rules_give_once_a_period, checks.burns_are_of_their_usage,
    checks.rated_usage_is_of_its_window, checks.facts_keep_their_order,
)  # fmt: skip
_SOONER, _OTHER = "{} - interval '3 hours'", "{} || 'x'"
# By table: a column, what is written into it, and in which rows.
_FORGERIES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "credit_grant": (
        ("effective_at", _SOONER, "true"),
        ("created_at", _SOONER, "true"),
        ("created_by_id", "{} + 1", "true"),
        ("reason_code", _OTHER, "true"),
        ("basis_amount", "{} + 1", "origin_id IS NOT NULL"),
        ("root_id", "{} + 1", "origin_id IS NOT NULL"),
        ("priority", "{} + 1", "origin_id IS NOT NULL"),
        ("name", _OTHER, "origin_id IS NOT NULL"),
        ("currency", "'XXX'", "price_minor = 0"),
        ("rule_period_at", _SOONER, "rule_id IS NOT NULL"),
        ("terms_id", "NULL", "rule_id IS NOT NULL"),
    ),
    "recurring_grant": (("interval_count", "{} + 1", "true"), ("reason_code", _OTHER, "true")),
    "ledger_transaction": (
        ("effective_at", _SOONER, "kind <> 'voided'"),
        ("effective_at", _SOONER, "kind = 'voided'"),
        ("recorded_at", _SOONER, "kind IN ('granted', 'drawn')"),
        ("recorded_at", _SOONER, "kind IN ('voided', 'reinstated', 'expired')"),
        ("source_key", _OTHER, "kind = 'drawn'"),
        ("position", "{} - 9", "kind = 'drawn'"),
    ),
    "rated_usage": (
        ("service_at", "{} + interval '1 microsecond'", "true"),
        ("rated_at", _SOONER, "true"),
        ("rate_id", "{} + 1", "true"),
        ("window_revision", "{} + 1", "true"),
        ("source_key", _OTHER, "true"),
        ("position", "{} - 9", "quantity < 0"),
    ),
    "window_rating": (("rate_id", "{} + 1", "true"), ("billing_period_id", "{} + 1", "true")),
}  # fmt: skip


@pytest.fixture
def busy(shop: Shop) -> Shop:
    """Return a shop with what each of the checks looks at."""
    terms = propose_grant_terms(
        code="weekly", terms=TermsInput(category="included", life_days=7),
        proposal=words(NOVEMBER.start), by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.approve(terms.policy_change)
    terms.refresh_from_db()
    create_recurring_grant(
        customer=shop.customer, terms=terms, pricing_unit=shop.unit, amount=Decimal(1),
        interval_unit="week", start_at=NOVEMBER.start, reason_code="plan", source_key="test:weekly",
        by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.period(Period(NOVEMBER.end, NOVEMBER.end + 31 * DAY))
    give_recurring_grants(by=shop.maker, at=shop.at)
    sold = shop.grant("100", category="paid", price_minor=1_000)
    cancelled = shop.use(input="40")
    shop.use(DAY_10 + DAY, input="20")
    shop.rate()
    expire_grant(grant=sold, reason_code="test", by=shop.maker, at=shop.at)
    shop.at += DAY
    cancel_event(
        customer=shop.customer, identifier=cancelled, reason="test", by=shop.maker, at=shop.at
    )
    shop.rate()
    gift = shop.grant("5")
    void_grant(grant=gift, reason_code="test", by=shop.maker, at=shop.at + DAY)
    reinstate_grant(grant=gift, reason_code="test", by=shop.maker, at=shop.at + 2 * DAY)
    claw_back(grant=sold, reason="refund", reference="r1", by=shop.maker, at=shop.at + 2 * DAY)
    assert CreditGrant.objects.filter(origin=sold).exists()
    return shop


def _is_found(shop: Shop) -> bool:
    replayed = replay_credits(shop.customer.pk).differences
    return bool(replayed) or any(list(check()) for check in ALL)


def test_no_column_of_a_fact_is_changed_unseen(busy: Shop) -> None:
    assert not _is_found(busy)
    unseen = []
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table, forgeries in _FORGERIES.items():
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            for column, change, whose in forgeries:
                with transaction.atomic():
                    value = change.format(column)
                    cursor.execute(f"UPDATE {table} SET {column} = {value} WHERE {whose}")
                    if not cursor.rowcount or not _is_found(busy):
                        unseen.append((table, column, change, whose))
                    transaction.set_rollback(True)

    assert unseen == []
