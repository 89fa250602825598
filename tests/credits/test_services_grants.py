"""Credits are given once for one key, and taken back only with a ledger transaction."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing_project.kernel import outbox
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import AuditEntry
from credits.models import CreditGrant, LedgerKind, LedgerTransaction
from credits.services.grants import expire_due_grants, expire_grant, void_grant
from tests.credits.builders import DAY_10, NOVEMBER, Shop, figures, make_customer

pytestmark = pytest.mark.django_db


def test_a_grant_is_filled_by_its_transaction(shop: Shop) -> None:
    grant = shop.grant("1000", category="paid", price_minor=9_000)

    assert grant.remaining == 1000
    entry = LedgerTransaction.objects.get(grant=grant)
    assert entry.kind == LedgerKind.GRANTED
    assert figures(entry.credits, entry.cost_unrounded) == "1000 90"
    assert entry.effective_at == NOVEMBER.start
    assert outbox.waiting("credits_changed") == [shop.customer.pk]
    assert AuditEntry.objects.filter(action="issue_grant").count() == 1


def test_the_same_key_gives_once(shop: Shop) -> None:
    first = shop.grant("10", source_key="invoice_line:1:pack")
    again = shop.grant("10", source_key="invoice_line:1:pack")

    assert again.pk == first.pk
    assert LedgerTransaction.objects.count() == 1


def test_the_same_key_with_other_inputs_is_refused(shop: Shop) -> None:
    shop.grant("10", source_key="invoice_line:1:pack")

    with pytest.raises(IdempotencyConflict):
        shop.grant("11", source_key="invoice_line:1:pack")


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": "0"},
        {"amount": "-1"},
        {"amount": "NaN"},
        {"amount": "1e24"},
        {"amount": "0.0000000000001"},
        {"category": "gift"},
        {"price_minor": 100},  # Promotional credits have no price.
        {"category": "paid", "price_minor": -1},
        {"priority": 101},
        {"currency": "XXZ"},
        {"category": "paid", "price_minor": 100, "currency": "EUR"},  # The customer pays dollars.
        {"effective_at": datetime(9999, 12, 31, tzinfo=UTC)},
        {"expires_at": datetime(9999, 12, 31, tzinfo=UTC)},
        {"effective_at": datetime(1, 1, 1, tzinfo=UTC)},
        {"effective_at": datetime(2036, 11, 22, tzinfo=UTC)},  # Ten years and two days from now.
        {"expires_at": NOVEMBER.start},
        {"reason_code": " "},
        {"meter_codes": ["nothing"]},
    ],
)
def test_a_value_out_of_bounds_is_refused(shop: Shop, wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        shop.grant(**{"amount": "10", **wrong})  # type: ignore[arg-type]

    assert CreditGrant.objects.count() == 0


def test_another_customers_workspace_is_refused(shop: Shop) -> None:
    prod = shop.workspace("prod")
    other = make_customer("other", shop.maker, shop.at)
    elsewhere = Shop(other, shop.unit, shop.card, shop.maker, shop.approver, shop.at)

    with pytest.raises(Invalid, match="workspace"):
        elsewhere.grant("10", workspace=prod)


def test_voiding_takes_what_remains(shop: Shop) -> None:
    grant = shop.grant("10")
    shop.use(input="6")  # 3 credits
    shop.rate()

    entry = void_grant(grant=grant, reason_code="mistake", by=shop.maker, at=shop.at)

    assert entry.credits == -7
    assert CreditGrant.objects.get().remaining == 0
    assert void_grant(grant=grant, reason_code="mistake", by=shop.maker, at=shop.at) == entry
    assert AuditEntry.objects.filter(action="void_grant").count() == 1


def test_nothing_remains_to_expire_after_a_void(shop: Shop) -> None:
    grant = shop.grant("10")
    void_grant(grant=grant, reason_code="mistake", by=shop.maker, at=shop.at)

    with pytest.raises(Conflict, match="nothing remains"):
        expire_grant(grant=grant, reason_code="end", by=shop.maker, at=shop.at)


def test_taking_back_needs_a_reason(shop: Shop) -> None:
    with pytest.raises(Invalid):
        void_grant(grant=shop.grant("10"), reason_code="", by=shop.maker, at=shop.at)


def test_a_grant_is_not_taken_back_before_it_was_given(shop: Shop) -> None:
    grant = shop.grant("10", effective_at=shop.at + timedelta(days=3))

    entry = void_grant(grant=grant, reason_code="mistake", by=shop.maker, at=DAY_10)

    assert entry.effective_at == shop.at + timedelta(days=3)
    assert entry.recorded_at == shop.at


def test_due_grants_expire_once_at_their_own_end(shop: Shop) -> None:
    grant = shop.grant("10", expires_at=DAY_10)
    shop.grant("10")

    assert expire_due_grants(by=shop.maker, at=DAY_10 - timedelta(seconds=1)) == 0
    assert expire_due_grants(by=shop.maker, at=shop.at) == 1
    assert expire_due_grants(by=shop.maker, at=shop.at) == 0

    entry = LedgerTransaction.objects.get(kind=LedgerKind.EXPIRED)
    assert (entry.grant, entry.effective_at) == (grant, DAY_10)
    assert entry.credits == Decimal(-10)


def test_usage_within_the_grace_still_burns_the_grant(shop: Shop) -> None:
    grant = shop.grant("10", expires_at=DAY_10 + timedelta(minutes=30))
    grace = timedelta(days=30)
    shop.use(DAY_10, input="2")

    assert expire_due_grants(by=shop.maker, at=shop.at, grace=grace) == 0
    shop.rate()

    grant.refresh_from_db()
    assert grant.remaining == 9
