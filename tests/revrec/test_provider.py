"""Fees, overpayments and disputes: each has its entry, and what is frozen stays promised."""

from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import Conflict, IdempotencyConflict, Insufficient
from credits.models import ClawBack, CreditGrant
from credits.services.clawing import claw_back
from credits.services.grants import void_grant
from credits.services.reinstating import reinstate_grant
from credits.services.replaying import replay_credits
from invoicing.crediting import Settlement
from invoicing.models import CustomerBalance, Dispute, DisputeOutcome, Invoice, Overpayment
from invoicing.selectors.settlement import refunds_by_bank
from invoicing.services.disputes import record_dispute, record_dispute_outcome
from invoicing.services.receipts import record_fee, record_receipt
from metering.models import Customer
from revrec.posting import About, Account, PostingLine
from revrec.provider import Delivery, dispute_lost, losses
from tests.revrec.builders import Shop, balances, entries, on, recognise, signed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]


def _receipt(shop: Shop, invoice: Invoice, minor: int, at: str, reference: str = "pi_1"):  # type: ignore[no-untyped-def]
    return record_receipt(
        invoice=invoice, amount_minor=minor, method="stripe", reference=reference, paid_at=on(at),
        by=shop.maker, at=on(at),
    )  # fmt: skip


def _dispute(shop: Shop, invoice: Invoice, minor: int, at: str, reason: str = "general") -> Dispute:
    return record_dispute(
        invoice=invoice, amount_minor=minor, reason=reason, method="stripe", reference="du_1",
        opened_at=on(at), by=shop.maker, at=on(at),
    )  # fmt: skip


def _decide(shop: Shop, dispute: Dispute, verdict: str, at: str) -> DisputeOutcome:
    return record_dispute_outcome(
        dispute=dispute, verdict=verdict, decided_at=on(at), by=shop.maker, at=on(at)
    )


def _pack(shop: Shop) -> tuple[Customer, Invoice, CreditGrant]:
    """Return a paid pack of 100 credits for 90.00, 40 of them used."""
    customer = shop.customer()
    shop.subscribe(customer, "2026-01-01", fee=0)
    invoice = shop.pack(customer, "100", 9_000, "2026-01-02")
    _receipt(shop, invoice, 9_000, "2026-01-02")
    shop.use(customer, "40", "2026-01-03")
    return customer, invoice, CreditGrant.objects.get(customer=customer)


def test_a_fee_comes_off_the_money_that_came(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    invoice = Invoice.objects.get(customer=customer)
    receipt = _receipt(shop, invoice, 9_000, "2026-01-02")
    fee = {"source": receipt.payment, "amount_minor": 291, "currency": "USD",
           "charged_at": on("2026-01-02"), "reference": "txn_1", "by": shop.maker}  # fmt: skip
    rows = {record_fee(**fee, at=on(day)) for day in ("2026-01-02", "2026-01-03")}

    recognise(customer, "2026-01-03")

    assert len(rows) == 1
    [kept] = entries(customer, "processor_fee")
    assert signed(kept) == {"6100": 291, "1000": -291}
    assert balances(customer)["1000"] == 8_709  # 90.00 less the fee: what settles (rule 2).


def test_what_is_paid_too_much_is_the_customers_balance(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    invoice = Invoice.objects.get(customer=customer)
    shop.pay(invoice, "2026-01-02", 4_000)  # By bank, while the card was being charged.

    receipt = _receipt(shop, invoice, 9_000, "2026-01-02")
    again = _receipt(shop, invoice, 9_000, "2026-01-03")
    recognise(customer, "2026-01-03")

    assert receipt == again
    assert (receipt.payment.amount_minor, receipt.overpayment.amount_minor) == (5_000, 4_000)
    assert CustomerBalance.objects.get(customer=customer).balance_minor == 4_000
    [over] = entries(customer, "overpayment_recorded")
    assert signed(over) == {"1000": 4_000, "2200": -4_000}
    with pytest.raises(IdempotencyConflict):
        _receipt(shop, invoice, 8_000, "2026-01-03")


def test_a_dispute_parks_money_and_freezes_credits_until_it_is_won(shop: Shop) -> None:
    customer, invoice, grant = _pack(shop)
    dispute = _dispute(shop, invoice, 9_000, "2026-01-04")
    shop.use(customer, "10", "2026-01-05")  # Nothing to burn: overage.
    recognise(customer, "2026-01-05")

    grant.refresh_from_db()
    assert grant.remaining == 0
    assert balances(customer)["1230"] == 9_000
    assert balances(customer)["2100"] == -5_400  # 60 credits are still promised.
    assert balances(customer).get("4030") is None
    for act in (void_grant, reinstate_grant):
        with pytest.raises(Conflict, match="disputed"):
            act(grant=grant, reason_code="asked", by=shop.maker, at=on("2026-01-05"))

    _decide(shop, dispute, "won", "2026-01-06")
    recognise(customer, "2026-01-06")

    grant.refresh_from_db()
    assert grant.remaining == 60
    assert "1230" not in balances(customer)
    assert replay_credits(customer.pk).differences == ()
    shop.use(customer, "60", "2026-01-07")
    recognise(customer, "2026-01-07")
    assert "2100" not in balances(customer)


def test_a_lost_dispute_of_a_pack_claws_back_once_and_loses_what_was_used(shop: Shop) -> None:
    customer, invoice, grant = _pack(shop)
    dispute = _dispute(shop, invoice, 9_000, "2026-01-04")
    outcome = _decide(shop, dispute, "lost", "2026-01-06")

    assert _decide(shop, dispute, "lost", "2026-01-07") == outcome
    again = claw_back(
        grant=grant, reason="refund", reference="re_9", by=shop.maker, at=on("2026-01-07")
    )
    recognise(customer, "2026-01-07")

    assert [row.credits for row in ClawBack.objects.order_by("pk")] == [Decimal(60), Decimal(0)]
    assert again.follows is not None
    [lost] = entries(customer, "dispute_lost")
    assert signed(lost) == {"2100": 5_400, "4920": 3_600, "1230": -9_000}  # 40 of 100 were used.
    assert entries(customer, "credits_expired") == []  # What is clawed back is no breakage.
    assert balances(customer) == {"4010": -3_600, "4920": 3_600}
    assert replay_credits(customer.pk).differences == ()
    with pytest.raises(IdempotencyConflict):
        _decide(shop, dispute, "won", "2026-01-07")


def test_fraud_is_a_loss_and_no_concession(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    invoice = Invoice.objects.get(customer=customer)
    _receipt(shop, invoice, 9_000, "2026-01-02")
    _decide(shop, _dispute(shop, invoice, 9_000, "2026-01-11", "fraudulent"), "lost", "2026-01-31")

    recognise(customer, "2026-04-15")

    [lost] = entries(customer, "dispute_lost")
    assert signed(lost) == {"2120": 6_000, "6200": 3_000, "1230": -9_000}  # 30 of 90 days.
    assert balances(customer) == {"4000": -3_000, "6200": 3_000}


def test_what_is_disputed_is_not_given_back_a_second_time(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    invoice = Invoice.objects.get(customer=customer)
    _receipt(shop, invoice, 9_000, "2026-01-02")
    _dispute(shop, invoice, 8_000, "2026-01-03")

    with pytest.raises(Insufficient, match=r"10\.00 USD is left"):
        shop.credit(invoice, 1_001, "goodwill", "2026-01-04")
    shop.credit(invoice, 1_000, "goodwill", "2026-01-04")
    recognise(customer, "2026-01-04")


@pytest.mark.parametrize(
    "statement",
    ["UPDATE overpayment SET amount_minor = 1", "DELETE FROM dispute", "TRUNCATE processor_fee",
     "UPDATE dispute_outcome SET verdict = 'won'",
     "INSERT INTO dispute (customer_id, invoice_id, amount_minor, currency, reason, opened_at,"
     " method, reference, recorded_by_id, recorded_at) SELECT customer_id, invoice_id, 1, 'EUR',"
     " 'x', now(), 'stripe', 'du_2', recorded_by_id, now() FROM overpayment"],
)  # fmt: skip
def test_the_database_keeps_what_the_provider_did(shop: Shop, statement: str) -> None:
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    invoice = Invoice.objects.get(customer=customer)
    receipt = _receipt(shop, invoice, 9_100, "2026-01-02")
    record_fee(source=receipt.payment, amount_minor=1, currency="USD", reference="txn_1",
               charged_at=on("2026-01-02"), by=shop.maker, at=on("2026-01-02"))  # fmt: skip
    _decide(shop, _dispute(shop, invoice, 100, "2026-01-03"), "lost", "2026-01-04")
    recognise(customer, "2026-01-04")

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert Overpayment.objects.get().amount_minor == 100


def test_a_loss_is_divided_by_what_lines_claim_and_ends_what_is_undelivered_first() -> None:
    fee = Delivery(6_000, Account.FEES_LIABILITY, 1_000, About("USD", 1, 11))
    overage = Delivery(3_000, None, 0, About("USD", None, 12))

    found, elsewhere = losses(10_000, [fee, overage])  # 10.00 more than is claimed by now.
    lines = dispute_lost(found, elsewhere, False, About("USD"))

    assert [(loss.released_minor, loss.lost_minor) for loss in found] == [
        (1_000, 5_000),
        (0, 3_000),
    ]
    assert lines == (
        PostingLine(Account.DISPUTES_LOST, 1_000, About("USD")),
        PostingLine(Account.DISPUTES_LOST, 5_000, About("USD", None, 11)),
        PostingLine(Account.FEES_LIABILITY, 1_000, fee.about),
        PostingLine(Account.DISPUTES_LOST, 3_000, About("USD", None, 12)),
        PostingLine(Account.DISPUTED, -10_000, About("USD")),
    )
    assert losses(500, []) == ([], 500)


def test_credits_that_a_lost_dispute_takes_as_they_come_earn_what_was_kept(shop: Shop) -> None:
    customer = shop.customer()
    invoice = shop.pack(customer, "100", 9_000, "2026-01-02")
    shop.pay(invoice, "2026-01-02", 4_500)
    _decide(shop, _dispute(shop, invoice, 4_500, "2026-01-03"), "lost", "2026-01-04")
    recognise(customer, "2026-01-04")

    shop.pay(invoice, "2026-01-05", 4_500)
    recognise(customer, "2026-01-05")

    assert balances(customer) == {"1000": 4_500, "4030": -4_500}  # As if all was granted before.


@pytest.mark.parametrize("way", [Settlement(3_000), Settlement(1_000, 2_000), Settlement(0, 3_000)])
@pytest.mark.parametrize(("minor", "still_owed"), [(9_000, 0), (8_000, 1_000), (6_000, 3_000)])
def test_what_a_lost_dispute_gave_back_is_not_owed_a_second_time(
    shop: Shop, minor: int, still_owed: int, way: Settlement
) -> None:
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    invoice = Invoice.objects.get(customer=customer)
    _receipt(shop, invoice, 9_000, "2026-01-02")
    shop.credit(invoice, 3_000, "cancel_future", "2026-01-02", way)
    dispute = _dispute(shop, invoice, minor, "2026-01-03")
    for _ in range(2):
        _decide(shop, dispute, "lost", "2026-01-04")

    recognise(customer, "2026-04-15")

    found = balances(customer)
    assert found.get("2200", 0) == -still_owed
    assert found.get("1000", 0) == still_owed  # Nothing else was kept.
    assert found["4000"] + found["4920"] == 0  # Served before the bank took all that was left.
    for made in refunds_by_bank(dispute):
        with pytest.raises(Conflict, match="cannot come back"):
            shop.fail(made, "2026-01-05")


def test_what_was_paid_too_much_and_a_bank_gave_back_pays_no_other_invoice(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    invoice = Invoice.objects.get(customer=customer)
    _receipt(shop, invoice, 9_500, "2026-01-02")

    _decide(shop, _dispute(shop, invoice, 9_500, "2026-01-03"), "lost", "2026-01-04")
    recognise(customer, "2026-01-04")

    assert CustomerBalance.objects.get(customer=customer).balance_minor == 0
    assert not {"1000", "1230", "2200"} & set(balances(customer))
