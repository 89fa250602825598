"""Above the limit that the policy sets, support proposes a credit note and finance approves it."""

from typing import Any

import pytest

from billing_project.kernel.approvals import approve
from billing_project.kernel.errors import Conflict, Insufficient, Invalid, NotAllowed
from billing_project.kernel.models import AuditEntry, User
from invoicing.models import CreditNote, Invoice, ProposedCreditNote
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.deciding import settle_proposals
from invoicing.services.proposals import request_credit_notes
from tests.console.backoffice import action_url, client_of, send, told
from tests.invoicing.builders import (
    START,
    Shop,
    customer_of,
    issued,
    paid,
    set_limits,
    sold_pack,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def invoice(shop: Shop) -> Invoice:
    """Return an invoice over 50.00, of which support may credit 5.00 at once."""
    set_limits(shop, notes_above={"USD": 500})
    return issued(shop, customer_of(shop), 5000)


def _credit(invoice: Invoice, minor: int, by: User) -> CreditNote:
    return issue_credit_note(
        invoice=invoice, lines=[(invoice.lines.get(), minor)], reason="fraudulent", memo="",
        key=f"note-{minor}", by=by, at=START,
    )  # fmt: skip


def _request(invoice: Invoice, minor: int, by: User, memo: str = "broken") -> ProposedCreditNote:
    (row,) = request_credit_notes(
        lines=[(invoice.lines.get(), minor)], reason="product_unsatisfactory", memo=memo,
        by=by, at=START,
    )  # fmt: skip
    return row


def test_support_credits_up_to_the_limit_and_finance_beyond_it(
    invoice: Invoice, shop: Shop, support: User
) -> None:
    with pytest.raises(NotAllowed, match=r"5\.01 USD is above 5\.00 USD: propose it"):
        _credit(invoice, 501, support)
    assert _credit(invoice, 500, support).number == "CN-000001"
    assert _credit(invoice, 501, shop.maker).number == "CN-000002"


def test_what_support_requests_is_issued_once_finance_approved_it(
    invoice: Invoice, shop: Shop, support: User
) -> None:
    request = _request(invoice, 3000, support)

    with pytest.raises(Conflict, match="requested already"):
        _request(invoice, 100, support)
    assert settle_proposals(by=shop.worker, at=START) == 0
    approve(change=request.policy_change, by=shop.approver, reason="it broke", at=START)
    assert settle_proposals(by=shop.worker, at=START) == 1

    note = CreditNote.objects.get()
    assert (note.total_minor, note.reason) == (3000, "product_unsatisfactory")
    assert "Approved by ann.shop" in note.memo


def test_a_request_says_what_is_left_and_why_it_is_made(invoice: Invoice, support: User) -> None:
    with pytest.raises(Insufficient, match=r"50\.00 USD left to credit, not 50\.01 USD"):
        _request(invoice, 5001, support)
    with pytest.raises(Invalid, match="says why"):
        _request(invoice, 100, support, memo=" ")
    with pytest.raises(Invalid, match="takes something off"):
        request_credit_notes(lines=[], reason="goodwill", memo="sorry", by=support, at=START)


def test_lines_are_requested_together_or_not_at_all(
    invoice: Invoice, shop: Shop, support: User
) -> None:
    line, strange = invoice.lines.get(), issued(shop, customer_of(shop, "two"), 900).lines.get()
    for other, fault in ((strange, "lines of INV-000001 only"), (line, "once")):
        asked = [(line, 100), (other, 200)]
        with pytest.raises(Invalid, match=fault):
            request_credit_notes(lines=asked, reason="goodwill", memo="x", by=support, at=START)

    assert not ProposedCreditNote.objects.exists()


def test_support_proposes_from_the_invoice_page(
    invoice: Invoice, shop: Shop, support: User, settings: Any
) -> None:
    settings.BILLING_CLOCK = START.isoformat()
    client, url = client_of(support), action_url(invoice, "propose_credit")

    line = invoice.lines.get()
    done = send(client, url, reason="goodwill", memo="sorry", **{f"line_{line.pk}": "30.00"})

    assert "finance decides" in told(done)
    proposal = ProposedCreditNote.objects.get()
    assert (proposal.amount_minor, proposal.policy_change.proposed_by) == (3000, support)


def test_many_small_notes_on_one_invoice_are_a_large_one(
    invoice: Invoice, shop: Shop, support: User
) -> None:
    _credit(invoice, 300, support)
    _credit(invoice, 1000, shop.maker)  # Of finance: it uses nothing up.

    with pytest.raises(NotAllowed, match=r"2\.01 USD with 3\.00 USD before is above 5\.00"):
        _credit(invoice, 201, support)
    _credit(invoice, 200, support)
    with pytest.raises(NotAllowed, match=r"0\.01 USD with 5\.00 USD before"):
        _credit(invoice, 1, support)


def test_an_approved_note_that_was_overtaken_is_closed_and_not_tried_for_ever(
    invoice: Invoice, shop: Shop, support: User
) -> None:
    pack = sold_pack(shop, invoice.customer, 5000)
    request = _request(pack, 1000, support)
    approve(change=request.policy_change, by=shop.approver, reason="yes", at=START)
    paid(shop, pack)  # Its credits are granted.

    assert settle_proposals(by=shop.worker, at=START) == 1

    request.refresh_from_db()
    assert (request.state, request.credit_note) == ("closed", None)
    closed = AuditEntry.objects.get(action="close_proposed_credit_note")
    assert "sold credits that were granted already" in closed.reason
    assert settle_proposals(by=shop.worker, at=START) == 0
