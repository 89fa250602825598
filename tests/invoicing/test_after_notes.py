"""What stands beside a note, or follows its void: drafts, past balances, limits and statements."""

from decimal import Decimal

import pytest

from billing_project.kernel.errors import Conflict, NotAllowed
from billing_project.kernel.models import User
from credits.models import CreditGrant
from credits.selectors import balance
from credits.services.clawing import claw_back
from credits.services.freezing import freeze_grant
from invoicing import checks
from invoicing.documents import invoice_data
from invoicing.models import CreditNote, Invoice
from invoicing.selectors import overage_state
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.endings import void_invoice
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.note_voids import void_credit_note
from invoicing.services.splitting import split_invoices
from metering.services.adjust import cancel_event
from metering.services.aggregate import aggregate_batches
from tests.invoicing.builders import (
    DAY,
    START,
    Shop,
    cancel,
    first_period,
    overage_invoices,
    set_limits,
    subscribed,
    use,
)
from tests.invoicing.stated import LATER, invoice_of_credits, stated

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("is_split", [False, True])
def test_a_draft_claims_nothing_that_a_void_note_left_on_its_invoice(
    shop: Shop, is_split: bool
) -> None:
    """100 of overage are invoiced, 30 cancelled and evened out by 0.36, and 30 come late."""
    subscription = subscribed(shop)
    for tokens, identifier in ((100, "in"), (70, "keep"), (30, "wrong")):
        use(shop, tokens, START + DAY, identifier)
    draft_overage_invoices(by=shop.worker, at=LATER)
    finalize_due(by=shop.worker, at=LATER)
    (first,) = overage_invoices(subscription)
    cancel(shop, "wrong", LATER)
    note = issue_credit_note(
        invoice=first, lines=[(first.lines.get(kind="overage"), 36)], reason="billing_error",
        memo="", key="note", by=shop.maker, at=LATER,
    )  # fmt: skip
    use(shop, 30, START + DAY, "late")
    draft_overage_invoices(by=shop.worker, at=LATER)
    draft = overage_invoices(subscription)[1]
    assert draft.total_minor == 36
    if is_split:
        split_invoices(
            customer=subscription.customer, split_by="workspace", reason="asked", by=shop.maker,
            at=LATER,
        )  # fmt: skip

    void_credit_note(credit_note=note, reason="a mistake", by=shop.maker, at=LATER)
    finalize_due(by=shop.worker, at=LATER + 3 * DAY)

    draft.refresh_from_db()
    assert (draft.number, draft.lines.count()) == (None, 0)
    assert overage_state(first_period(subscription)).unbilled_minor == 0
    assert [*checks.overage_is_invoiced_or_unbilled()] == []


def _give_back(shop: Shop, invoice: Invoice, amount: int, days: int = 0) -> CreditNote:
    return issue_credit_note(
        invoice=invoice, lines=[], restored=[(stated(invoice), Decimal(amount))],
        reason="service_failure", memo="", key=f"back-{days}", by=shop.maker,
        at=LATER + days * DAY,
    )  # fmt: skip


@pytest.mark.parametrize("is_disputed", [False, True])
def test_no_balance_of_before_a_note_changes(shop: Shop, is_disputed: bool) -> None:
    invoice = invoice_of_credits(shop)
    pack = CreditGrant.objects.get(category="paid")
    if is_disputed:
        cancel(shop, "req-2", LATER)  # 30 of overage, and 20 of the pack are free again.
        freeze_grant(grant=pack, reference="dispute 1", by=shop.maker, at=LATER)
    else:
        claw_back(grant=pack, reason="refund", reference="re_1", by=shop.maker, at=LATER)

    def before() -> list[Decimal]:
        units = balance(invoice.customer, LATER + 5 * DAY, known_at=LATER + 20 * DAY)
        return [unit.ledger for unit in units]

    known = before()
    _give_back(shop, invoice, 20, days=10)

    assert before() == known
    assert known[0] >= 0


def test_credits_of_worth_are_taken_again_by_two_people(shop: Shop) -> None:
    set_limits(shop, notes_above={"USD": 500})
    note = _give_back(shop, invoice_of_credits(shop), 50)  # 10.00 of the pack.

    with pytest.raises(NotAllowed, match="an approver voids it who did not issue it"):
        void_credit_note(credit_note=note, reason="a mistake", by=shop.maker, at=LATER)
    void_credit_note(credit_note=note, reason="a mistake", by=shop.approver, at=LATER)


def test_what_waits_to_be_corrected_counts_for_the_limit(shop: Shop, support: User) -> None:
    """Once the newest use is gone, the older one of the pack is the newest: 30 x 0.20 = 6.00."""
    set_limits(shop, notes_above={"USD": 500})
    invoice = invoice_of_credits(shop)
    cancel_event(
        customer=invoice.customer, identifier="req-2", reason="not theirs", by=shop.maker, at=LATER
    )
    aggregate_batches(at=LATER)  # Counted, and not yet rated.

    with pytest.raises(NotAllowed, match=r"6\.00 USD is above 5\.00 USD"):
        issue_credit_note(
            invoice=invoice, lines=[], restored=[(stated(invoice), Decimal(30))],
            reason="goodwill", memo="", key="x", by=support, at=LATER,
        )  # fmt: skip


def test_an_invoice_with_a_standing_note_is_not_void(shop: Shop) -> None:
    invoice = invoice_of_credits(shop)
    note = _give_back(shop, invoice, 60)

    with pytest.raises(Conflict, match=f"{note} gave credits of .* back: void the note first"):
        void_invoice(invoice=invoice, reason="address", by=shop.approver, at=LATER)


def test_a_further_statement_covers_what_was_granted_whoever_got_it_back(shop: Shop) -> None:
    _give_back(shop, invoice_of_credits(shop), 60)
    use(shop, 40, START + DAY, "late")  # 60 are there again, and pay all of it.
    use(shop, 60, START + DAY, "later")  # 20 of it, and 40 are beyond.
    draft_overage_invoices(by=shop.worker, at=LATER)
    finalize_due(by=shop.worker, at=LATER + 3 * DAY)

    data = invoice_data(Invoice.objects.exclude(number=None).latest("pk"))

    assert {name: data["statement"][name] for name in ("total", "drawn", "overage")} == {  # type: ignore[index]
        "total": "100", "drawn": "60", "overage": "40",
    }  # fmt: skip
