"""What a payment fell short by never came: it does not go back, and is accepted once."""

import pytest

from billing_project.kernel.approvals import approve
from billing_project.kernel.effects import simulate
from billing_project.kernel.errors import Insufficient
from invoicing.checks import settlements_add_up
from invoicing.models import CustomerBalance, ShortPayment
from invoicing.services.credit_notes import undisputed
from invoicing.services.note_voids import void_credit_note
from invoicing.services.proposals import request_credit_notes
from invoicing.services.tolerances import propose_payment_tolerance
from tests.invoicing.builders import (
    LAUNCH,
    START,
    Shop,
    customer_of,
    issued,
    note_on,
    paid,
    words,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _tolerance(shop: Shop) -> None:
    """Accept payments that fall short by up to 5.00."""
    row = propose_payment_tolerance(
        currency="USD", most_minor=500, proposal=words(LAUNCH), by=shop.maker, at=LAUNCH
    )
    approve(change=row.policy_change, by=shop.approver, reason="agreed", at=LAUNCH)


def test_notes_give_back_no_more_than_came(shop: Shop) -> None:
    invoice = paid(shop, issued(shop, customer_of(shop), 10_000), 9_500)
    assert (invoice.status, invoice.open_minor) == ("paid", 0)

    with pytest.raises(Insufficient, match=r"5\.00 USD of INV-000001 never came: 95\.00 USD is"):
        note_on(shop, invoice, 9_501)
    # A change of the subscription gives back as much as came, and is not held up.
    assert undisputed(invoice, [(invoice.lines.get(), 10_000)]) == [(invoice.lines.get(), 9_500)]
    note_on(shop, invoice, 9_500)

    assert CustomerBalance.objects.get().balance_minor == 9_500


def test_who_decides_on_a_note_is_told_that_it_would_give_back_what_never_came(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop), 10_000)
    (row,) = request_credit_notes(
        lines=[(invoice.lines.get(), 10_000)], reason="goodwill", memo="sorry", by=shop.maker,
        at=START,
    )  # fmt: skip
    paid(shop, invoice, 9_500)

    effect = simulate(row.policy_change)

    assert effect is not None
    assert "nothing would be issued: 5.00 USD of INV-000001 never came" in effect.basis


def test_an_invoice_that_a_void_opens_again_is_paid_to_the_last_unit(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop), 10_000)
    note = note_on(shop, invoice, 5_000)
    paid(shop, invoice, 4_998)
    void_credit_note(credit_note=note, reason="mistaken", by=shop.approver, at=START)

    paid(shop, invoice, 4_997)

    assert (invoice.status, invoice.open_minor) == ("finalized", 3)
    assert paid(shop, invoice, 3).status == "paid"
    assert ShortPayment.objects.get().amount_minor == 2
    assert list(settlements_add_up()) == []


def test_a_cent_does_not_pay_what_is_hardly_above_the_tolerance(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop), 500)

    paid(shop, invoice, 1)
    assert (invoice.status, invoice.open_minor) == ("finalized", 499)
    paid(shop, invoice, 453)  # 0.46 are more than a tenth of 4.54.
    assert (invoice.status, invoice.open_minor) == ("finalized", 46)
    assert paid(shop, invoice, 1).status == "paid"
    assert ShortPayment.objects.get().amount_minor == 45
