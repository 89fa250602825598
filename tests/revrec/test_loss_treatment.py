"""What lost disputes and write-offs take of what was delivered: by the version of then."""

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.drafts import draft, example_of, submit
from billing_project.kernel.errors import Invalid
from invoicing.models import Dispute, Invoice
from invoicing.services.disputes import record_dispute, record_dispute_outcome
from invoicing.services.endings import write_off_invoice
from invoicing.services.receipts import record_receipt
from metering.models import Customer
from revrec.impairment import Loss, Unpaid, losses, recovery
from revrec.models import BadDebt, DisputeLoss, Granularity, Presentation, RecognitionPolicy
from revrec.selectors.losing_ties import misplaced_losses
from revrec.selectors.recognition import RECOGNITION, content_of_recognition
from revrec.services.recognition import Recognition
from tests.revrec.builders import LONG_AGO, Shop, balances, entries, govern, on, recognise, signed

CONCEDED = Recognition(bad_debt=BadDebt.CONCESSION)


def test_a_concession_takes_the_price_of_what_was_delivered_and_tax_stays_an_expense() -> None:
    # 90.00 and 18.00 of tax, a third delivered. Nothing is paid: 60.00 are released; of the 48.00
    # that are lost 30.00 are price and 18.00 are tax.
    line = Unpaid(10_800, 9_000, 3_000, 1_800)
    assert losses(10_800, [line]) == [Loss(4_800, 6_000)]
    assert losses(10_800, [line], is_concession=True) == [Loss(1_800, 6_000, 3_000)]
    # 16.00 of it come after all: a third of each part of the loss.
    [back] = recovery(1_600, losses(10_800, [line], is_concession=True))
    assert back == Loss(600, 0, 1_000)


@given(
    st.integers(1, 10**9), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6),
    st.lists(st.integers(1, 10**6), max_size=4),
)  # fmt: skip
def test_what_comes_back_undoes_each_part_of_a_loss_to_the_last_unit(
    price: int, delivered: int, tax: int, unpaid: int, payments: list[int]
) -> None:
    line = Unpaid(price + tax, price, min(delivered, price), tax)
    unpaid = min(max(unpaid, 1), price + tax)
    [expensed], [left] = losses(unpaid, [line]), losses(unpaid, [line], is_concession=True)

    assert left.released_minor == expensed.released_minor
    assert left.lost_minor == expensed.impaired_minor
    assert 0 <= left.impaired_minor <= tax
    for payment in [*payments, unpaid]:
        minor = min(payment, left.lost_minor + left.released_minor)
        if minor:
            [back] = recovery(minor, [left])
            left = Loss(*(a - b for a, b in zip(vars(left).values(), vars(back).values(),
                                                strict=True)))  # fmt: skip
            assert min(vars(left).values()) >= 0
    assert left == Loss(0, 0)


def _fee(shop: Shop) -> tuple[Customer, Invoice]:
    """Sell 90.00 for 90 days from 1 January."""
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    return customer, Invoice.objects.get(customer=customer)


def _disputed(shop: Shop, reason: str) -> tuple[Customer, Dispute]:
    customer, invoice = _fee(shop)
    record_receipt(
        invoice=invoice, amount_minor=9_000, method="stripe", reference=f"pi_{reason}",
        paid_at=on("2026-01-02"), by=shop.maker, at=on("2026-01-02"),
    )  # fmt: skip
    return customer, record_dispute(
        invoice=invoice, amount_minor=9_000, reason=reason, method="stripe",
        reference=f"du_{reason}", opened_at=on("2026-01-11"), by=shop.maker, at=on("2026-01-11"),
    )  # fmt: skip


def _lose(shop: Shop, dispute: Dispute, at: str) -> None:
    record_dispute_outcome(
        dispute=dispute, verdict="lost", decided_at=on("2026-01-31"), by=shop.maker, at=on(at)
    )


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
@pytest.mark.parametrize(
    ("treatment", "fraud_on", "other_on"),
    [("by_reason", "6200", "4920"), ("concession", "4920", "4920"),
     ("impairment", "6200", "6200")],
)  # fmt: skip
def test_a_lost_dispute_takes_what_was_delivered_by_the_version_in_force(
    shop: Shop, treatment: str, fraud_on: str, other_on: str
) -> None:
    govern(shop, Recognition(dispute_loss=DisputeLoss(treatment)))

    for reason, account in (("fraudulent", fraud_on), ("general", other_on)):
        customer, dispute = _disputed(shop, reason)
        _lose(shop, dispute, "2026-01-31")
        recognise(customer, "2026-04-15")

        [lost] = entries(customer, "dispute_lost")
        assert signed(lost) == {"2120": 6_000, account: 3_000, "1230": -9_000}  # 30 of 90 days.


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
def test_a_dispute_keeps_the_treatment_of_when_it_was_lost_whenever_that_is_learnt(
    shop: Shop,
) -> None:
    customer, dispute = _disputed(shop, "general")
    # One that says it was in force before was approved after the bank decided.
    govern(shop, Recognition(dispute_loss=DisputeLoss.IMPAIRMENT), "2026-01-15", "2026-02-01")
    _lose(shop, dispute, "2026-02-03")
    recognise(customer, "2026-02-03")

    [lost] = entries(customer, "dispute_lost")
    assert signed(lost)["4920"] == 3_000


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
def test_a_write_off_may_be_a_concession_and_what_comes_back_undoes_that(shop: Shop) -> None:
    govern(shop, CONCEDED)
    customer, invoice = _fee(shop)
    write_off_invoice(invoice=invoice, reason="weak", by=shop.approver, at=on("2026-01-31"))
    recognise(customer, "2026-01-31")
    assert balances(customer) == {"4000": -3_000, "4900": 3_000}

    govern(shop, Recognition(), "2026-02-01")  # An expense from now on: not what was given up.
    shop.pay(invoice, "2026-02-10", 2_000)
    recognise(customer, "2026-02-10")
    shop.pay(invoice, "2026-03-02", 4_000)
    recognise(customer, "2026-03-02")

    assert signed(entries(customer, "written_off")[0]) == {
        "1100": -9_000, "4900": 3_000, "2120": 6_000,
    }  # fmt: skip
    assert [signed(entry) for entry in entries(customer, "recovered")] == [
        {"1000": 2_000, "4900": -2_000},
        {"1000": 4_000, "4900": -1_000, "2120": -3_000},
    ]

    other, unpaid = _fee(shop)
    write_off_invoice(invoice=unpaid, reason="insolvent", by=shop.approver, at=on("2026-02-10"))
    recognise(other, "2026-02-10")
    assert balances(other)["6200"] == 4_000


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
def test_a_note_on_what_was_conceded_claims_that_again_and_takes_it_back(shop: Shop) -> None:
    govern(shop, CONCEDED)
    customer, invoice = _fee(shop)
    shop.pay(invoice, "2026-01-02", 3_000)
    write_off_invoice(invoice=invoice, reason="weak", by=shop.approver, at=on("2026-01-31"))
    recognise(customer, "2026-01-31")
    shop.credit(invoice, 7_500, "billing_error", "2026-01-31")
    recognise(customer, "2026-01-31")

    [again] = entries(customer, "recovered")
    assert signed(again) == {"1100": 6_000, "4900": -2_000, "2120": -4_000}
    recognise(customer, "2026-05-01")
    assert balances(customer) == {"1000": 3_000, "2200": -1_500, "4000": -4_000, "4900": 2_500}


@pytest.mark.django_db
def test_a_loss_on_the_account_of_another_version_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer, dispute = _disputed(shop, "general")
    _lose(shop, dispute, "2026-01-31")
    payer, invoice = _fee(shop)
    write_off_invoice(invoice=invoice, reason="weak", by=shop.approver, at=on("2026-01-31"))
    with monkeypatch.context() as patch:
        patch.setattr("revrec.services.provider.dispute_loss_at", lambda _: DisputeLoss.IMPAIRMENT)
        patch.setattr("revrec.services.write_offs.bad_debt_at", lambda _: BadDebt.CONCESSION)
        for who in (customer, payer):
            recognise(who, "2026-02-01")
    row = invoice.write_off

    assert [vars(one) for one in misplaced_losses()] == [
        {"subject": f"dispute:{dispute.pk}", "expected": "a loss on 4920", "found": "6200"},
        {"subject": f"write_off:{row.pk}", "expected": "0 on 4900", "found": "3000"},
    ]

    monkeypatch.setattr("revrec.services.write_offs._given_up", lambda _: Loss(9_000, 0))
    shop.pay(invoice, "2026-02-02", 1_000)
    recognise(payer, "2026-02-02")
    [*_, elsewhere] = misplaced_losses()
    assert (elsewhere.expected, elsewhere.found) == ("at least 0 on 6200", "-1000")


@pytest.mark.django_db
def test_a_version_says_what_losses_are_and_one_of_before_is_as_it_was_hashed(shop: Shop) -> None:
    before = govern(shop, Recognition(Granularity.MONTH, Presentation.DUE))
    assert content_of_recognition(before) == {
        "number": 1, "granularity": "month", "presentation": "due",
    }  # fmt: skip
    said = {**example_of(RECOGNITION), "dispute_loss": "impairment", "bad_debt": "concession"}
    words = Proposal("losses", "wanted", "done", "test", LONG_AGO)
    kept = draft(kind=RECOGNITION, content=said, proposal=words, by=shop.maker, at=LONG_AGO)
    submit(change=kept, by=shop.maker, at=LONG_AGO)
    made = RecognitionPolicy.objects.get(number=2)
    assert content_of_recognition(made) == {"number": 2, **said}

    wrong = draft(kind=RECOGNITION, content={**said, "bad_debt": "gone"}, proposal=words,
                  by=shop.maker, at=LONG_AGO)  # fmt: skip
    with pytest.raises(Invalid, match="the bad debt is one of expense, concession"):
        submit(change=wrong, by=shop.maker, at=LONG_AGO)
    with pytest.raises(IntegrityError), transaction.atomic():
        RecognitionPolicy.objects.create(
            number=3, granularity="day", presentation="due", bad_debt="gone",
            policy_change=kept,
        )  # fmt: skip
