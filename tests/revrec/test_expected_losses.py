"""What is expected never to be paid stands on 1190, by how late it is (rule 20)."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.drafts import draft, example_of, submit
from billing_project.kernel.errors import Conflict, Invalid
from invoicing.models import Invoice
from invoicing.services.endings import write_off_invoice
from revrec.impairment import expected_loss
from revrec.models import LossEstimate
from revrec.services.losses import propose_losses
from tests.revrec.builders import LONG_AGO, Shop, balances, close_month, on, recognise

WORDS = Proposal("losses", "wanted", "done", "test", LONG_AGO)
RATES = {"not_due": Decimal("0.01"), "1_to_30": Decimal("0.1"), "31_to_60": Decimal("0.5")}


def test_each_bucket_loses_its_share_and_is_rounded_once() -> None:
    # 0.333 + 0.333 + 50 = 50.666.
    open_ = {"not_due": 33, "1_to_30": 3, "31_to_60": 100, "over_90": 999}
    assert expected_loss(open_, {**RATES, "1_to_30": Decimal("0.111")}) == 51
    assert expected_loss({"not_due": -500, "1_to_30": 100}, RATES) == 10


def _estimate(shop: Shop, is_approved: bool = True, **how: object) -> LossEstimate:
    terms = {"currency": "USD", "rates": RATES, "evidence": "eight quarters", **how}
    made = propose_losses(**terms, proposal=WORDS, by=shop.maker, at=LONG_AGO)  # type: ignore[arg-type]
    if is_approved:
        approve(change=made.policy_change, by=shop.approver, reason="read", at=LONG_AGO)
    return made


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
def test_the_allowance_follows_what_is_open_until_it_is_written_off(shop: Shop) -> None:
    _estimate(shop)
    customer = shop.subscriber("2026-01-01", fee=10_000, days=31)
    recognise(customer, "2026-02-01")
    invoice = Invoice.objects.get(customer=customer)
    overdue = (date(2026, 1, 31) - (invoice.due_on or date(2026, 1, 31))).days
    share = RATES["1_to_30"] if overdue > 0 else RATES["not_due"]

    close_month("2026-01-01", "2026-02-02")
    first = balances()
    assert first["1190"] == -int(10_000 * share)
    assert first["6200"] == int(10_000 * share)

    write_off_invoice(invoice=invoice, reason="insolvent", by=shop.maker, at=on("2026-02-10"))
    recognise(customer, "2026-02-11")
    close_month("2026-02-01", "2026-03-02")
    after = balances()
    assert "1190" not in after
    assert after["6200"] == 10_000  # The loss itself, once.


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
def test_nothing_is_expected_to_be_lost_once_no_estimate_governs(shop: Shop) -> None:
    made = propose_losses(
        currency="USD", rates=RATES, evidence="eight quarters", by=shop.maker, at=LONG_AGO,
        proposal=replace(WORDS, expires_at=on("2026-02-10")),
    )  # fmt: skip
    approve(change=made.policy_change, by=shop.approver, reason="read", at=LONG_AGO)
    customer = shop.subscriber("2026-01-01", fee=10_000, days=31)
    recognise(customer, "2026-02-01")
    close_month("2026-01-01", "2026-02-02")
    assert balances()["1190"] == -100

    shop.pay(Invoice.objects.get(customer=customer), "2026-02-03")
    recognise(customer, "2026-03-01")
    close_month("2026-02-01", "2026-03-02")

    assert balances() == {"1000": 10_000, "4000": -10_000}


@pytest.mark.django_db
def test_a_close_waits_for_an_estimate_that_nobody_decided(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=10_000, days=31)
    recognise(customer, "2026-02-01")
    _estimate(shop, is_approved=False)

    with pytest.raises(Conflict, match="waits for approval"):
        close_month("2026-01-01", "2026-02-02")
    assert "1190" not in balances()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "how",
    [
        {"currency": "EURO"},
        {"rates": {"never": Decimal(1)}},
        {"rates": {"not_due": Decimal("1.1")}},
        {"rates": {"not_due": Decimal("NaN")}},
        {"evidence": " "},
    ],
)
def test_what_is_no_estimate_of_losses_is_refused(shop: Shop, how: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        _estimate(shop, is_approved=True, **how)


@pytest.mark.django_db
def test_losses_are_drafted(shop: Shop) -> None:
    change = draft(
        kind="loss_estimate", content=example_of("loss_estimate"), proposal=WORDS, by=shop.maker,
        at=LONG_AGO,
    )  # fmt: skip
    submit(change=change, by=shop.maker, at=LONG_AGO)
    assert LossEstimate.objects.get().rates["over_90"] == "0.5"
