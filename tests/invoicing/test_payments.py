"""Payments by hand, and credits that come with them."""

from datetime import datetime
from decimal import Decimal

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
from credits.models import CreditGrant
from invoicing.checks import packs_are_granted
from invoicing.models import Invoice, Payment
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.invoices import finalize_invoice
from invoicing.services.packs import sell_credit_pack
from invoicing.services.payments import record_payment
from tests.invoicing.builders import DAY, START, Shop, customer_of, fee_invoice, subscribed

pytestmark = pytest.mark.django_db


def _issued(shop: Shop) -> Invoice:
    return finalize_invoice(invoice=fee_invoice(subscribed(shop)), by=shop.maker, at=START)


def _pay(
    shop: Shop, invoice: Invoice, amount_minor: int, reference: str = "wire-1",
    at: datetime = START + DAY,
) -> Payment:  # fmt: skip
    return record_payment(
        invoice=invoice, amount_minor=amount_minor, method="bank_transfer", reference=reference,
        paid_at=at, by=shop.maker, at=at,
    )  # fmt: skip


def _pack(shop: Shop, key: str = "pack-1", price_minor: int = 9000) -> Invoice:
    return sell_credit_pack(
        customer=customer_of(shop), pricing_unit=shop.unit, amount=Decimal(10_000),
        price_minor=price_minor, key=key, by=shop.maker, at=START,
    )  # fmt: skip


def test_payments_reduce_what_is_open_until_it_is_paid(shop: Shop) -> None:
    invoice = _issued(shop)

    _pay(shop, invoice, 4000)
    invoice.refresh_from_db()
    assert (invoice.status, invoice.paid_minor, invoice.open_minor) == ("finalized", 4000, 900)
    _pay(shop, invoice, 900, "wire-2")
    invoice.refresh_from_db()
    assert (invoice.status, invoice.paid_minor, invoice.open_minor) == ("paid", 4900, 0)


def test_the_same_payment_again_is_the_same_row(shop: Shop) -> None:
    invoice = _issued(shop)
    payment = _pay(shop, invoice, 4900)

    assert _pay(shop, invoice, 4900) == payment
    with pytest.raises(IdempotencyConflict, match=r"49\.00 USD"):
        _pay(shop, invoice, 100)


def test_more_than_is_open_is_refused_with_what_is_open(shop: Shop) -> None:
    invoice = _issued(shop)
    _pay(shop, invoice, 4000)

    with pytest.raises(Insufficient, match=r"INV-000001 has 9\.00 USD open"):
        _pay(shop, invoice, 901, "wire-2")


@pytest.mark.parametrize(
    ("amount_minor", "reference"), [(0, "wire"), (-1, "wire"), (1, " "), (1, "x" * 101)]
)
def test_a_payment_needs_an_amount_and_a_reference(
    shop: Shop, amount_minor: int, reference: str
) -> None:
    with pytest.raises(Invalid):
        _pay(shop, _issued(shop), amount_minor, reference)


def test_drafts_future_payments_and_strangers_are_refused(shop: Shop, support: User) -> None:
    draft = fee_invoice(subscribed(shop))

    with pytest.raises(Conflict, match="finalize it first"):
        _pay(shop, draft, 100)
    with pytest.raises(Invalid, match="not before"):
        record_payment(
            invoice=draft, amount_minor=1, method="cash", reference="1", paid_at=START + DAY,
            by=shop.maker, at=START,
        )  # fmt: skip
    with pytest.raises(NotAllowed):
        record_payment(
            invoice=draft, amount_minor=1, method="cash", reference="1", paid_at=START,
            by=support, at=START,
        )  # fmt: skip


def test_a_pack_is_granted_with_its_full_payment(shop: Shop) -> None:
    invoice = _pack(shop)
    line = invoice.lines.get()
    assert (invoice.number, line.quantity, line.unit, line.amount_minor) == (
        "INV-000001", Decimal(10_000), "credit", 9000,
    )  # fmt: skip

    _pay(shop, invoice, 5000)
    assert not CreditGrant.objects.exists()
    _pay(shop, invoice, 4000, "wire-2", START + 2 * DAY)

    grant = CreditGrant.objects.get(source_key=f"invoice_line:{line.pk}:pack")
    assert (grant.category, grant.amount, grant.price_minor) == ("paid", Decimal(10_000), 9000)
    assert (grant.effective_at, grant.expires_at) == (START + 2 * DAY, None)


def test_the_same_sale_again_is_the_same_invoice(shop: Shop) -> None:
    invoice = _pack(shop)

    assert _pack(shop) == invoice
    with pytest.raises(IdempotencyConflict):
        _pack(shop, price_minor=8000)


@pytest.mark.parametrize(
    ("amount", "price_minor", "key"),
    [
        (Decimal(0), 9000, "k"),
        (Decimal("NaN"), 9000, "k"),
        (Decimal(10) ** 24, 9000, "k"),
        (Decimal(1), 0, "k"),
        (Decimal(1), 10**16, "k"),
        (Decimal(1), 9000, ""),
        (Decimal("0.0000000000001"), 9000, "k"),
        (Decimal("0.000000000001"), 10**15, "k"),  # 10^25 dollars a credit.
    ],
)
def test_a_pack_without_sense_is_not_sold(
    shop: Shop, amount: Decimal, price_minor: int, key: str
) -> None:
    with pytest.raises(Invalid):
        sell_credit_pack(
            customer=customer_of(shop), pricing_unit=shop.unit, amount=amount,
            price_minor=price_minor, key=key, by=shop.maker, at=START,
        )  # fmt: skip


def _credit(shop: Shop, invoice: Invoice, amount_minor: int, reason: str = "goodwill") -> None:
    issue_credit_note(
        invoice=invoice, lines=[(invoice.lines.get(), amount_minor)], reason=reason,
        memo="", key=f"note-{amount_minor}", by=shop.maker, at=START + 3 * DAY,
    )  # fmt: skip


def test_a_pack_that_a_note_made_cheaper_is_granted_at_what_was_paid(shop: Shop) -> None:
    invoice = _pack(shop)

    _credit(shop, invoice, 3000)
    _pay(shop, invoice, 6000)

    assert CreditGrant.objects.get().price_minor == 6000


def test_a_note_over_the_rest_of_a_pack_grants_it(shop: Shop) -> None:
    invoice = _pack(shop)
    _pay(shop, invoice, 6000)

    _credit(shop, invoice, 3000)

    grant = CreditGrant.objects.get()
    assert (grant.price_minor, grant.effective_at) == (6000, START + 3 * DAY)


@pytest.mark.parametrize(
    "reason", ["billing_error", "duplicate", "cancel_future", "service_failure"]
)
def test_a_pack_cancelled_in_part_is_granted_in_part(shop: Shop, reason: str) -> None:
    invoice = _pack(shop)
    _pay(shop, invoice, 100)

    _credit(shop, invoice, 8900, reason)

    grant = CreditGrant.objects.get()
    # 10,000 credits x 1.00 / 90.00: each costs 0.009, as it was sold.
    assert (grant.amount, grant.price_minor) == (Decimal("111.111111111111"), 100)
    assert list(packs_are_granted()) == []


def test_a_pack_granted_beyond_what_was_kept_is_found(shop: Shop) -> None:
    invoice = _pack(shop)
    _pay(shop, invoice, 100)
    _credit(shop, invoice, 8900, "cancel_future")

    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE credit_grant DISABLE TRIGGER USER")
        cursor.execute("UPDATE credit_grant SET amount = 10000, remaining = 10000")
        cursor.execute("ALTER TABLE credit_grant ENABLE TRIGGER USER")

    assert len(list(packs_are_granted())) == 1


def test_a_pack_credited_in_full_is_never_granted(shop: Shop) -> None:
    invoice = _pack(shop)

    _credit(shop, invoice, 9000)

    invoice.refresh_from_db()
    assert (invoice.status, invoice.paid_minor) == ("paid", 0)
    assert not CreditGrant.objects.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payment SET amount_minor = 1 WHERE id = %(id)s",
        "DELETE FROM payment WHERE id = %(id)s",
        "TRUNCATE payment",
    ],
)
def test_postgresql_keeps_payments(shop: Shop, statement: str) -> None:
    payment = _pay(shop, _issued(shop), 100)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, {"id": payment.pk})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amount_minor": 4901}, "invoice_"),
        ({"amount_minor": 0}, "payment_amount_positive"),
        ({"currency": "EUR"}, "in its own currency"),
    ],
)
def test_postgresql_refuses_a_payment_that_does_not_fit(
    shop: Shop, changes: dict[str, object], message: str
) -> None:
    invoice = _issued(shop)
    payment = Payment(
        invoice=invoice, amount_minor=100, currency="USD", paid_at=START, method="cash",
        reference="1", recorded_by=shop.maker, recorded_at=START,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(payment, name, value)

    with pytest.raises(DatabaseError, match=message), transaction.atomic():
        payment.save()


def test_postgresql_refuses_payment_of_a_draft(shop: Shop) -> None:
    draft = fee_invoice(subscribed(shop))

    with pytest.raises(DatabaseError, match="needs an issued invoice"), transaction.atomic():
        Payment.objects.create(
            invoice=draft, amount_minor=100, currency="USD", paid_at=START, method="cash",
            reference="1", recorded_by=shop.maker, recorded_at=START,
        )  # fmt: skip
