"""PostgreSQL itself refuses what must not be, whatever the code above it does."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from credits.models import (
    CreditGrant,
    LedgerTransaction,
    RatedUsage,
    RateTotal,
    WindowRating,
)
from tests.credits.builders import Shop, rate

pytestmark = pytest.mark.django_db


@pytest.fixture
def drawn(shop: Shop) -> Shop:
    """Return a shop where 5 of 10 credits were drawn for one window."""
    shop.grant("10")
    shop.use(input="10")
    shop.rate()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # Else TRUNCATE stops at what is deferred.
    return shop


def _refused(act: Callable[[], object], match: str) -> None:
    with pytest.raises(DatabaseError, match=match), transaction.atomic():
        act()


def _copy_of_draw(**changes: object) -> LedgerTransaction:
    entry = LedgerTransaction.objects.get(kind="drawn")
    entry.pk, entry.source_key = None, "copy"
    for name, value in changes.items():
        setattr(entry, name, value)
    return entry


def _copy_of_usage(**changes: object) -> RatedUsage:
    row = RatedUsage.objects.get()
    row.pk, row.source_key = None, "copy"
    for name, value in changes.items():
        setattr(row, name, value)
    return row


def test_drawing_more_than_remains(drawn: Shop) -> None:
    entry = _copy_of_draw(credits=Decimal("-5.000000000001"))

    _refused(entry.save, "credit_grant_remaining_bounds")


def test_giving_back_more_than_was_granted(drawn: Shop) -> None:
    entry = _copy_of_draw(kind="returned", credits=Decimal("5.000000000001"))

    _refused(entry.save, "credit_grant_remaining_bounds")


@pytest.mark.parametrize("totals", [WindowRating, RateTotal])
def test_moving_what_was_rated_by_hand(drawn: Shop, totals: type[WindowRating | RateTotal]) -> None:
    _refused(lambda: totals.objects.update(quantity=10), "only rated usage moves")
    _refused(lambda: totals.objects.all().delete(), "append-only|refuse|DELETE")


def test_moving_what_remains_by_hand(drawn: Shop) -> None:
    _refused(lambda: CreditGrant.objects.update(remaining=10), "only ledger transactions")


def test_a_grant_that_starts_full(drawn: Shop) -> None:
    grant = CreditGrant.objects.get()
    grant.pk, grant.source_key, grant.remaining = None, "copy", Decimal(10)

    _refused(lambda: grant.save(force_insert=True), "starts empty")


@pytest.mark.parametrize("column", ["amount", "price_minor", "priority"])
def test_changing_a_grants_facts(drawn: Shop, column: str) -> None:
    _refused(lambda: CreditGrant.objects.update(**{column: 7}), "keeps its facts")


@pytest.mark.parametrize("table", ["ledger_transaction", "rated_usage", "billing_period", "rate"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_changing_facts(drawn: Shop, table: str, verb: str) -> None:
    with connection.cursor() as cursor:
        _refused(lambda: cursor.execute(verb.format(table)), "append-only")


def test_a_charge_that_is_not_drawn_or_overage(drawn: Shop) -> None:
    row = _copy_of_usage(overage=Decimal("0.000000000001"))

    _refused(row.save, "rated_usage_parts_sum")


def test_rating_with_a_version_that_nobody_approved(drawn: Shop) -> None:
    version = drawn.proposed([rate("input", "1")])

    _refused(_copy_of_usage(rate_card_version=version).save, "approved version")


def test_a_rate_added_after_approval(drawn: Shop) -> None:
    version = drawn.version([rate("input", "1")])
    late = version.rates.get()
    late.pk, late.meter_code = None, "output"

    _refused(lambda: late.save(force_insert=True), "after the decision")


def test_a_second_granted_transaction(drawn: Shop) -> None:
    entry = _copy_of_draw(kind="granted", credits=Decimal(1), rated_usage=None, credit_policy=None)

    _refused(entry.save, "ledger_transaction_granted_once")


@pytest.mark.parametrize("number", ["NaN", "1e25", "-1e25"])
def test_credits_that_are_no_amount(drawn: Shop, number: str) -> None:
    with connection.cursor() as cursor:
        _refused(
            lambda: cursor.execute(
                "INSERT INTO ledger_transaction (customer_id, grant_id, kind, credits,"
                " cost_unrounded, reason_code, effective_at, recorded_at, recorded_by_id,"
                " source_key, rated_usage_id, credit_policy_id)"
                " SELECT customer_id, grant_id, kind, %s::numeric, 0, '', effective_at,"
                " recorded_at, recorded_by_id, 'copy', rated_usage_id, credit_policy_id"
                " FROM ledger_transaction WHERE kind = 'drawn'",
                [number],
            ),
            "violates check constraint|numeric field overflow",
        )


@pytest.mark.parametrize("column", ["amount", "remaining"])
def test_a_grant_of_nan_credits(drawn: Shop, column: str) -> None:
    with connection.cursor() as cursor:
        _refused(
            lambda: cursor.execute(
                "INSERT INTO credit_grant (customer_id, pricing_unit_id, category, amount,"
                " remaining, price_minor, currency, priority, effective_at, meter_codes,"
                " reason_code, source_key, created_by_id, created_at)"
                " SELECT customer_id, pricing_unit_id, category, %s::numeric, %s::numeric, 0,"
                " currency, priority, effective_at, meter_codes, reason_code, 'copy',"
                " created_by_id, created_at FROM credit_grant",
                ["NaN", "0"] if column == "amount" else ["10", "NaN"],
            ),
            "violates check constraint|starts empty",
        )


def test_a_draw_without_usage_or_policy(drawn: Shop) -> None:
    _refused(_copy_of_draw(rated_usage=None).save, "ledger_transaction_burn_has_usage")
    _refused(_copy_of_draw(credit_policy=None).save, "ledger_transaction_burn_has_usage")


def test_a_window_rated_twice_at_one_revision(drawn: Shop) -> None:
    row = _copy_of_usage(source_key=RatedUsage.objects.get().source_key)

    _refused(lambda: row.save(force_insert=True), "source_key")
