"""Refunds: within what their note promised, once each; a failed one is not lost."""

from datetime import datetime
from time import sleep

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import (
    Conflict,
    IdempotencyConflict,
    Insufficient,
    Invalid,
    NotAllowed,
)
from billing_project.kernel.models import User
from invoicing.checks import balances_add_up
from invoicing.crediting import Settlement
from invoicing.models import CreditNote, CustomerBalance, Invoice, Refund, RefundFailure
from invoicing.selectors import refund_left
from invoicing.services import locks
from invoicing.services import refunds as module
from invoicing.services.refunds import (
    record_balance_refund,
    record_refund,
    record_refund_failure,
)
from tests.invoicing.builders import (
    DAY,
    START,
    Shop,
    at_once,
    check_what_is_deferred,
    customer_of,
    issued,
    note_on,
    open_shop,
    paid,
    refusals,
)

pytestmark = pytest.mark.django_db


def _note(shop: Shop, refund_minor: int = 800) -> CreditNote:
    """Return a note of 10.00 on a paid invoice, so much of it to be refunded."""
    invoice = paid(shop, issued(shop, customer_of(shop), 5000))
    return note_on(shop, invoice, 1000, Settlement(refund_minor, 1000 - refund_minor))


def _refund(
    shop: Shop, note: CreditNote, minor: int = 800, key: str = "r1", reference: str = "re_1",
    by: User | None = None, refunded_at: datetime = START,
) -> Refund:  # fmt: skip
    return record_refund(
        credit_note=note, amount_minor=minor, method="card", reference=reference,
        refunded_at=refunded_at, key=key, by=by or shop.maker, at=START + DAY,
    )  # fmt: skip


def _fail(shop: Shop, refund: Refund, reason: str = "account closed") -> RefundFailure:
    return record_refund_failure(
        refund=refund, reason=reason, failed_at=START + DAY, by=shop.maker, at=START + DAY
    )


def test_refunds_use_up_what_their_note_promised(shop: Shop) -> None:
    note = _note(shop)

    _refund(shop, note, 500)
    _refund(shop, note, 300, "r2", "re_2")

    assert refund_left(note) == 0
    with pytest.raises(Insufficient, match=r"CN-000001 has 0\.00 USD left to refund"):
        _refund(shop, note, 1, "r3", "re_3")


def test_the_same_refund_again_is_the_same_row(shop: Shop) -> None:
    note = _note(shop)
    refund = _refund(shop, note, 500)

    assert _refund(shop, note, 500) == refund
    with pytest.raises(IdempotencyConflict):
        _refund(shop, note, 300)
    with pytest.raises(Conflict, match="re_1 was recorded for CN-000001 before"):
        _refund(shop, note, 300, "another key")


def test_a_refund_says_what_it_was_and_who_may_record_it(
    shop: Shop, support: User, auditor: User
) -> None:
    note = _note(shop)

    for person in (support, auditor):
        with pytest.raises(NotAllowed):
            _refund(shop, note, by=person)
    with pytest.raises(Invalid, match="more than nothing"):
        _refund(shop, note, 0)
    with pytest.raises(Invalid, match="a reference"):
        _refund(shop, note, reference=" ")
    with pytest.raises(Invalid, match="key has 1 to 120"):
        _refund(shop, note, key="k" * 121)
    with pytest.raises(Invalid, match="not before"):
        _refund(shop, note, refunded_at=START + 2 * DAY)


def test_a_note_without_a_refund_part_is_not_refunded(shop: Shop) -> None:
    with pytest.raises(Insufficient, match=r"0\.00 USD left"):
        _refund(shop, _note(shop, 0), 1)


def test_a_failed_refund_becomes_balance_once(shop: Shop) -> None:
    note = _note(shop)
    refund = _refund(shop, note)
    failure = _fail(shop, refund)

    assert _fail(shop, refund) == failure
    with pytest.raises(IdempotencyConflict, match="failed before: account closed"):
        _fail(shop, refund, "another story")
    with pytest.raises(Invalid, match="has a reason"):
        _fail(shop, refund, " ")
    assert CustomerBalance.objects.get().balance_minor == 200 + 800
    assert refund_left(note) == 0  # It is in the balance, and not owed twice.
    assert list(balances_add_up()) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE refund SET amount_minor = 1",
        "DELETE FROM refund",
        "TRUNCATE refund CASCADE",
        "UPDATE refund_failure SET reason = 'x'",
        "DELETE FROM refund_failure",
        "TRUNCATE refund_failure",
    ],
)
def test_postgresql_keeps_refunds(shop: Shop, statement: str) -> None:
    _fail(shop, _refund(shop, _note(shop)))
    check_what_is_deferred()

    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amount_minor": 301}, "are 801 of 800 USD to refund"),
        ({"currency": "EUR"}, "to refund"),
        ({"credit_note": None, "amount_minor": 201}, "customer_balance_not_negative"),
        ({"credit_note": None, "currency": "EUR"}, "has no balance in EUR"),
        ({"amount_minor": 0}, "refund_amount_positive"),
        ({"reference": "re_1"}, "refund_reference_once"),
        ({"source_key": "r1"}, "refund_source_key"),
    ],
)
def test_postgresql_refuses_a_refund_that_does_not_fit(
    shop: Shop, changes: dict[str, object], message: str
) -> None:
    note = _note(shop)
    _refund(shop, note, 500)
    content: dict[str, object] = {
        "customer": note.invoice.customer, "credit_note": note, "amount_minor": 100,
        "currency": "USD", "refunded_at": START, "method": "card", "reference": "forged",
        "recorded_by": shop.maker, "recorded_at": START, "source_key": "forged", **changes,
    }  # fmt: skip

    with pytest.raises(DatabaseError, match=message), transaction.atomic():
        Refund.objects.create(**content)


def test_postgresql_refuses_a_note_that_returns_more_money_than_came(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Show that the rule does not rest on the service: what it judges is forged here."""
    invoice = issued(shop, customer_of(shop), 1000)
    paid(shop, invoice, 400)
    paid_by_balance = note_on(shop, paid(shop, issued(shop, invoice.customer, 600)), 600)
    assert paid_by_balance.balance_minor == 600
    invoice = paid(shop, invoice, 600)
    assert Invoice.objects.filter(pk=invoice.pk, paid_minor=1000).exists()
    half = paid(shop, issued(shop, invoice.customer, 1000))  # 6.00 of it by the balance.
    monkeypatch.setattr("invoicing.crediting.Paid.left_minor", 10**9)

    for settlement in (Settlement(refund_minor=401), Settlement(out_of_band_minor=401)):
        with (
            pytest.raises(DatabaseError, match="invoice_returned_within_paid"),
            transaction.atomic(),
        ):
            note_on(shop, half, 401, settlement, "forged")


def test_postgresql_refuses_a_refund_to_somebody_else(shop: Shop) -> None:
    note, other = _note(shop), customer_of(shop, "globex")

    with pytest.raises(DatabaseError, match="to refund"), transaction.atomic():
        Refund.objects.create(
            customer=other, credit_note=note, amount_minor=1, currency="USD", refunded_at=START,
            method="card", reference="x", recorded_by=shop.maker, recorded_at=START,
            source_key="x",
        )  # fmt: skip


def test_a_balance_is_refunded_as_far_as_it_goes(shop: Shop, support: User) -> None:
    note = _note(shop)
    _fail(shop, _refund(shop, note))
    balance = CustomerBalance.objects.get()  # 2.00, and the 8.00 that came back.

    def refund(minor: int, key: str = "b", by: User | None = None) -> Refund:
        return record_balance_refund(
            balance=balance, amount_minor=minor, method="card", reference=f"re_{key}",
            refunded_at=START, key=key, by=by or shop.maker, at=START + DAY,
        )  # fmt: skip

    with pytest.raises(NotAllowed):
        refund(900, by=support)
    with pytest.raises(Insufficient, match=r"the balance of acme has 10\.00 USD left to refund"):
        refund(1001)
    made = refund(900)
    assert refund(900) == made
    with pytest.raises(IdempotencyConflict):
        refund(100)
    balance.refresh_from_db()
    assert balance.balance_minor == 100
    _fail(shop, made)
    balance.refresh_from_db()
    assert (balance.balance_minor, list(balances_add_up())) == (1000, [])


def _both_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Wait between looking at what is left and writing, where a missing lock lets two in."""

    def slowly(note: CreditNote) -> int:
        found = refund_left(note)
        sleep(0.1)
        return found

    def refund(name: str) -> object:
        try:
            return _refund(shop, note, 500, name, name)
        except DatabaseError as error:
            return str(error)

    note = _note(shop)
    monkeypatch.setattr(module, "refund_left", slowly)
    return at_once(lambda: refund("a"), lambda: refund("b"))


@pytest.mark.django_db(transaction=True)
def test_of_two_refunds_at_once_beyond_the_note_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [refusal] = refusals(_both_at_once(open_shop(), monkeypatch))

    assert "3.00 USD left to refund" in refusal.message


@pytest.mark.django_db(transaction=True)
def test_without_the_customers_lock_postgresql_still_refuses_the_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = open_shop()
    monkeypatch.setattr(locks, "lock_customer", lambda customer_id: None)
    monkeypatch.setattr(module, "lock_invoice", lambda invoice: invoice)

    results = _both_at_once(shop, monkeypatch)

    [refused] = [result for result in results if isinstance(result, str)]
    assert "are 1000 of 800 USD to refund" in refused
    assert Refund.objects.count() == 1
