"""What notes left with a customer pays their next invoices, as far as it goes and no further."""

from time import sleep

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import Conflict, Insufficient, NotAllowed
from billing_project.kernel.models import User
from credits.models import CreditGrant
from invoicing.checks import balances_add_up, settlements_add_up
from invoicing.crediting import Settlement
from invoicing.models import BalanceApplication, CustomerBalance, Invoice
from invoicing.selectors import balance_of, owed_back
from invoicing.services import balances as module
from invoicing.services import locks
from invoicing.services.balances import pay_from_balance
from invoicing.services.refunds import record_refund, record_refund_failure
from metering.models import Customer
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
    sold_pack,
)

pytestmark = pytest.mark.django_db


def _with_balance(shop: Shop, minor: int, name: str = "acme") -> Customer:
    """Return a customer to whom a note left a balance."""
    invoice = paid(shop, issued(shop, customer_of(shop, name), 5000))
    note_on(shop, invoice, minor)
    return invoice.customer


def _state(invoice: Invoice) -> tuple[str, int, int, int]:
    invoice.refresh_from_db()
    return invoice.status, invoice.paid_minor, invoice.applied_minor, invoice.open_minor


def test_the_next_invoice_is_paid_from_the_balance_when_it_is_issued(shop: Shop) -> None:
    customer = _with_balance(shop, 700)

    first, second = issued(shop, customer, 500), issued(shop, customer, 500)

    assert _state(first) == ("paid", 0, 500, 0)
    assert _state(second) == ("finalized", 0, 200, 300)  # 7.00 - 5.00 are left of the balance.
    assert CustomerBalance.objects.get().balance_minor == 0
    assert owed_back(customer) == []


def test_a_pack_that_the_balance_pays_in_full_is_granted_at_once(shop: Shop) -> None:
    customer = _with_balance(shop, 700)

    assert _state(sold_pack(shop, customer, 701))[0] == "finalized"
    assert not CreditGrant.objects.exists()
    _with_balance(shop, 900, "globex")
    pack = sold_pack(shop, Customer.objects.get(external_id="globex"), 900)

    assert _state(pack) == ("paid", 0, 900, 0)
    assert CreditGrant.objects.get().price_minor == 900


def test_balances_pay_only_in_their_own_currency_and_of_their_own_customer(shop: Shop) -> None:
    customer = _with_balance(shop, 700)

    assert _state(issued(shop, customer, 500, "EUR")) == ("finalized", 0, 0, 500)
    assert _state(issued(shop, customer_of(shop, "globex"), 500)) == ("finalized", 0, 0, 500)


def test_a_balance_pays_what_was_issued_before_on_request(
    shop: Shop, auditor: User, support: User
) -> None:
    customer = customer_of(shop)
    waiting = issued(shop, customer, 500)
    with pytest.raises(Insufficient, match="has no balance in USD"):
        pay_from_balance(invoice=waiting, by=shop.maker, at=START)
    note_on(shop, paid(shop, issued(shop, customer, 5000)), 700)

    with pytest.raises(NotAllowed):
        pay_from_balance(invoice=waiting, by=auditor, at=START + DAY)
    pay_from_balance(invoice=waiting, by=shop.maker, at=START + DAY)

    assert _state(waiting) == ("paid", 0, 500, 0)
    with pytest.raises(Conflict, match="nothing open"):
        pay_from_balance(invoice=waiting, by=shop.maker, at=START + DAY)


def test_what_the_balance_paid_goes_back_to_the_balance_and_never_as_money(shop: Shop) -> None:
    customer = _with_balance(shop, 700)
    invoice = paid(shop, issued(shop, customer, 1000))  # 7.00 by the balance, 3.00 by wire.

    with pytest.raises(Insufficient, match=r"3\.00 USD of the payments is left .* not 3\.01 USD"):
        note_on(shop, invoice, 800, Settlement(refund_minor=301, balance_minor=499), "n2")
    note_on(shop, invoice, 800, Settlement(refund_minor=300, balance_minor=500), "n2")

    [owed] = owed_back(customer)
    assert (owed.balance.amount_minor, owed.refunds_due.amount_minor) == (500, 300)


def test_a_refund_that_failed_pays_the_next_invoice(shop: Shop) -> None:
    invoice = paid(shop, issued(shop, customer_of(shop), 1000))
    note = note_on(shop, invoice, 800, Settlement(refund_minor=800))
    refund = record_refund(
        credit_note=note, amount_minor=800, method="card", reference="re_1", refunded_at=START,
        key="r", by=shop.maker, at=START + DAY,
    )  # fmt: skip
    assert owed_back(invoice.customer) == []
    record_refund_failure(
        refund=refund, reason="account closed", failed_at=START + DAY, by=shop.maker,
        at=START + DAY,
    )  # fmt: skip

    assert CustomerBalance.objects.get().balance_minor == 800
    assert _state(issued(shop, invoice.customer, 1000)) == ("finalized", 0, 800, 200)
    assert [*balances_add_up(), *settlements_add_up()] == []


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE customer_balance SET balance_minor = 1", "follows its facts"),
        ("DELETE FROM customer_balance", "follows its facts"),
        ("TRUNCATE customer_balance", "append-only"),
        ("INSERT INTO customer_balance (customer_id, currency, balance_minor)"
         " SELECT id, 'EUR', 1 FROM customer", "follows its facts"),
        ("SELECT customer_balance_move(id, 'USD', 5) FROM customer", "follows its facts"),
        ("UPDATE balance_application SET amount_minor = 1", "append-only"),
        ("DELETE FROM balance_application", "append-only"),
        ("TRUNCATE balance_application", "append-only"),
        ("UPDATE invoice SET applied_minor = 0, open_minor = 600", "only what settles it"),
        ("UPDATE invoice SET returned_minor = 1 WHERE paid_minor > 0", "only what settles it"),
    ],
)  # fmt: skip
def test_postgresql_keeps_balances(shop: Shop, statement: str, message: str) -> None:
    issued(shop, _with_balance(shop, 700), 600)
    check_what_is_deferred()

    with (
        pytest.raises(DatabaseError, match=message),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def _forge(shop: Shop, invoice: Invoice, minor: int, currency: str = "USD") -> None:
    with transaction.atomic():
        BalanceApplication.objects.create(
            invoice=invoice, amount_minor=minor, currency=currency, applied_at=START,
            applied_by=shop.maker,
        )  # fmt: skip


def test_postgresql_refuses_more_than_the_balance_or_than_is_open(shop: Shop) -> None:
    customer = customer_of(shop)
    waiting, other = issued(shop, customer, 500), issued(shop, customer_of(shop, "globex"), 500)
    note_on(shop, paid(shop, issued(shop, customer, 5000)), 300)

    with pytest.raises(DatabaseError, match="customer_balance_not_negative"):
        _forge(shop, waiting, 301)
    with pytest.raises(DatabaseError, match="has no balance in USD"):
        _forge(shop, other, 1)
    with pytest.raises(DatabaseError, match="in its own currency"):
        _forge(shop, waiting, 1, "EUR")
    with pytest.raises(DatabaseError, match="balance_application_amount_positive"):
        _forge(shop, waiting, 0)
    note_on(shop, Invoice.objects.get(total_minor=5000), 300, key="n2")
    with pytest.raises(DatabaseError, match="invoice_"):
        _forge(shop, waiting, 501)
    _forge(shop, waiting, 500)


def test_each_check_finds_a_balance_that_was_moved_past_its_guards(shop: Shop) -> None:
    issued(shop, _with_balance(shop, 700), 600)
    assert [*balances_add_up(), *settlements_add_up()] == []

    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE customer_balance DISABLE TRIGGER USER")
        cursor.execute("UPDATE customer_balance SET balance_minor = 1000")
        cursor.execute("ALTER TABLE balance_application DISABLE TRIGGER USER")
        cursor.execute("UPDATE balance_application SET amount_minor = 1")

    assert [finding.message for finding in balances_add_up()] == ["has 1000, its facts leave 699"]
    assert len(list(settlements_add_up())) == 1


def _two_that_wait(shop: Shop) -> list[Invoice]:
    """Return two open invoices of a customer whose balance pays one of them only."""
    customer = customer_of(shop)
    waiting = [issued(shop, customer, 500) for _ in "ab"]
    note_on(shop, paid(shop, issued(shop, customer, 5000)), 600)
    return waiting


def _pay_both_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Wait between reading the balance and taking of it, where a missing lock lets two read it."""

    def slowly(invoice: Invoice) -> int:
        found = balance_of(invoice)
        sleep(0.1)
        return found

    def pay(invoice: Invoice) -> object:
        try:
            return pay_from_balance(invoice=invoice, by=shop.maker, at=START + DAY)
        except DatabaseError as error:
            return str(error)

    monkeypatch.setattr(module, "balance_of", slowly)
    first, second = _two_that_wait(shop)
    return at_once(lambda: pay(first), lambda: pay(second))


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_the_second_gets_what_the_first_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = _pay_both_at_once(open_shop(), monkeypatch)

    assert refusals(results) == []
    assert sorted(row.amount_minor for row in BalanceApplication.objects.all()) == [100, 500]


@pytest.mark.django_db(transaction=True)
def test_without_the_customers_lock_postgresql_still_refuses_to_overdraw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = open_shop()
    monkeypatch.setattr(locks, "lock_customer", lambda customer_id: None)

    results = _pay_both_at_once(shop, monkeypatch)

    [refused] = [result for result in results if isinstance(result, str)]
    assert "customer_balance_not_negative" in refused
    assert CustomerBalance.objects.get().balance_minor == 100
