"""PostgreSQL itself refuses what must not be, whatever the code above it does."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from credits.models import (
    CreditGrant,
    LedgerTransaction,
    PricingUnit,
    Rate,
    RateCard,
    RatedUsage,
    RatePin,
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


@pytest.mark.parametrize("table", ["ledger_transaction", "rated_usage", "rate"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_changing_facts(drawn: Shop, table: str, verb: str) -> None:
    with connection.cursor() as cursor:
        _refused(lambda: cursor.execute(verb.format(table)), "append-only")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_period SET start_at = start_at - interval '1 day'",
        "DELETE FROM billing_period",
    ],
)
def test_moving_a_billing_period(drawn: Shop, statement: str) -> None:
    with connection.cursor() as cursor:
        _refused(lambda: cursor.execute(statement), "keeps its facts")


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


def _override(shop: Shop, **changes: object) -> RateCard:
    fields: dict[str, object] = {
        "code": "acme", "name": "Acme", "pricing_unit": shop.unit,
        "customer": shop.customer, "base": shop.card, **changes,
    }  # fmt: skip
    return RateCard.objects.create(**fields)


def test_an_override_without_its_base(shop: Shop) -> None:
    _refused(lambda: _override(shop, base=None), "rate_card_override_has_base")


def test_an_override_of_an_override(shop: Shop) -> None:
    first = _override(shop)

    _refused(lambda: _override(shop, code="twice", base=first), "overrides none")


def test_an_override_in_another_unit(shop: Shop) -> None:
    unit = PricingUnit.objects.create(code="usd", name="Dollars", currency="USD")

    _refused(lambda: _override(shop, pricing_unit=unit), "same pricing unit")


def test_a_pin_after_the_decision(shop: Shop) -> None:
    version = shop.card.versions.get()
    pin = RatePin(
        customer=shop.customer,
        rate_card=shop.card,
        version=version,
        policy_change=version.policy_change,
    )

    _refused(pin.save, "after the decision")


def test_a_pin_to_what_nobody_approved(shop: Shop) -> None:
    version = shop.proposed([rate("input", "1")])
    pin = RatePin(
        customer=shop.customer,
        rate_card=shop.card,
        version=version,
        policy_change=version.policy_change,
    )

    _refused(pin.save, "approved version")


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"model": "graduated"}, "rate_terms_of_model"),
        ({"model": "package", "terms": {"size": "10"}}, "rate_terms_of_model"),
        ({"model": "flat_fee", "terms": {"fee": "1"}, "unit_price": 1}, "rate_terms_of_model"),
        ({"model": "haggling"}, "rate_terms_of_model"),
        ({"pools": "family"}, "rate_pools_known"),
        ({"minimum": 5, "maximum": 4}, "rate_allowance_bounds"),
        ({"included": 0}, "rate_allowance_bounds"),
    ],
)
def test_a_rate_whose_terms_do_not_fit(
    shop: Shop, changes: dict[str, object], constraint: str
) -> None:
    version = shop.proposed([rate("input", "1")])
    fields: dict[str, object] = {"unit_price": 0, "dimensions_key": "x", **changes}
    row = Rate(version=version, meter_code="output", **fields)

    _refused(row.save, constraint)
