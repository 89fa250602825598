"""Above the limit that the policy sets, support proposes a credit note and finance approves it."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings

from billing_project.kernel.approvals import approve, is_as_proposed
from billing_project.kernel.backoffice.display import object_url
from billing_project.kernel.effects import simulate
from billing_project.kernel.errors import Conflict, Insufficient, Invalid, NotAllowed
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import AuditEntry, User
from billing_project.kernel.quantity import plain
from credits.models import CreditGrant
from invoicing import checks
from invoicing.models import CreditNote, Invoice, ProposedCreditNote
from invoicing.selectors.proposals import shown_back
from invoicing.selectors.restoring import credits_restored
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.deciding import settle_proposals
from invoicing.services.proposals import request_credit_notes
from tests.console.backoffice import action_url, client_of, send, told
from tests.credits.builders import figures
from tests.invoicing.builders import (
    START,
    Shop,
    cancel,
    customer_of,
    issued,
    paid,
    set_limits,
    sold_pack,
)
from tests.invoicing.stated import LATER, invoice_of_credits, stated
from tests.invoicing.test_api import Api

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


@pytest.mark.parametrize("limits", [None, {}, {"EUR": 10_000}])
def test_where_no_limit_is_stated_support_proposes(
    shop: Shop, support: User, limits: dict[str, int] | None
) -> None:
    if limits is not None:
        set_limits(shop, notes_above=limits)
    invoice = issued(shop, customer_of(shop), 5000)

    with pytest.raises(NotAllowed, match="no limit is stated for notes in USD: propose it"):
        _credit(invoice, 1, support)
    assert _credit(invoice, 2, shop.maker).total_minor == 2
    _request(invoice, 100, support)


@pytest.mark.parametrize(
    ("scopes", "limits", "minor", "is_issued"),
    [
        (["credits:write"], {"USD": 500}, 500, True),
        (["credits:write"], {"USD": 500}, 501, False),
        (["credits:write"], {"EUR": 500}, 1, False),
        (["credits:write"], None, 5000, True),  # Nobody has stated limits yet.
        (["credits:write", "credits:large"], {"USD": 500}, 5000, True),
        (["admin"], {}, 5000, True),
    ],
)
def test_a_key_keeps_to_the_limits_of_support_unless_it_is_made_for_more(
    shop: Shop, scopes: list[str], limits: dict[str, int] | None, minor: int, is_issued: bool
) -> None:
    if limits is not None:
        set_limits(shop, notes_above=limits)
    invoice = issued(shop, customer_of(shop), 5000)
    key, _ = create_api_key(name="app", scopes=scopes, at=START)

    if is_issued:
        assert _credit(invoice, minor, key.user).total_minor == minor
        return
    with pytest.raises(NotAllowed, match="propose it"):
        _credit(invoice, minor, key.user)


def test_small_notes_of_a_key_count_with_those_of_support(invoice: Invoice, support: User) -> None:
    key, _ = create_api_key(name="app", scopes=["credits:write"], at=START)
    _credit(invoice, 300, key.user)

    for by in (support, key.user):
        with pytest.raises(NotAllowed, match=r"2\.01 USD with 3\.00 USD before"):
            _credit(invoice, 201, by)


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


def _request_back(invoice: Invoice, amount: int, by: User) -> ProposedCreditNote:
    (row,) = request_credit_notes(
        lines=[], restored=[(stated(invoice), Decimal(amount))], reason="service_failure",
        memo="Wrong answers", by=by, at=LATER,
    )  # fmt: skip
    return row


def _decide(shop: Shop, row: ProposedCreditNote) -> ProposedCreditNote:
    approve(change=row.policy_change, by=shop.approver, reason="it was bad", at=LATER)
    assert settle_proposals(by=shop.worker, at=LATER) == 1
    row.refresh_from_db()
    return row


def test_a_proposal_shows_what_comes_off_and_what_goes_back(
    shop: Shop, invoice: Invoice, support: User
) -> None:
    paid(shop, invoice, 2000)

    effect = simulate(_request(invoice, 4500, support).policy_change)

    assert effect is not None
    assert [(row.subject, figures(row.before), figures(row.after)) for row in effect.rows] == [
        ("Left of line 1", "50", "5"),
        ("Open of INV-000001", "30", "0"),
        ("Back to the customer's balance", "0", "15"),
    ]


def test_a_proposal_that_has_come_to_nothing_says_so(
    shop: Shop, invoice: Invoice, support: User
) -> None:
    change = _request(invoice, 4500, support).policy_change
    _credit(invoice, 600, shop.maker)

    effect = simulate(change)

    assert effect is not None
    assert "nothing would be issued: line 1 has 44.00 USD left" in effect.basis
    assert effect.rows == ()


def test_credits_are_proposed_with_who_gets_them_and_given_back_as_shown(
    shop: Shop, support: User
) -> None:
    row = _request_back(invoice_of_credits(shop), 60, support)
    change = row.policy_change

    effect = simulate(change)
    assert effect is not None
    # 50 of the pack, which cost 0.20 each; the included ones are over, and cost nothing.
    assert [figures(one.after) + " " + one.unit for one in effect.rows] == [
        "50 credit", "10 credit", "10 USD",
    ]  # fmt: skip
    assert "to a new grant linked to it" in effect.rows[1].subject
    assert change.title == "Credit 60 credits of INV-000001 to Acme"
    assert is_as_proposed(change)
    with pytest.raises(Conflict, match="requested already"):
        _request_back(row.invoice_line.invoice, 1, support)

    row = _decide(shop, row)

    note = row.credit_note
    assert note is not None
    assert (row.state, plain(note.restored_credits), note.total_minor) == ("issued", "60", 0)
    assert shown_back(credits_restored(note)) == row.facts["gives_back"]
    assert not list(checks.proposals_are_issued_as_approved())


def test_credits_that_others_would_get_by_now_are_not_given_back(shop: Shop, support: User) -> None:
    invoice = invoice_of_credits(shop)
    row = _request_back(invoice, 60, support)
    cancel(shop, "req-2", LATER)  # The pack pays for none of it any more: 20 credits are there.
    issue_credit_note(
        invoice=invoice, lines=[], restored=[(stated(invoice), Decimal(5))], reason="goodwill",
        memo="", key="in between", by=shop.maker, at=LATER,
    )  # fmt: skip

    row = _decide(shop, row)

    assert (row.state, row.credit_note) == ("closed", None)
    closed = AuditEntry.objects.get(action="close_proposed_credit_note")
    assert "not give the same credits back" in closed.reason


@override_settings(BILLING_CLOCK=LATER.isoformat())
def test_credits_are_proposed_over_http_and_from_the_page(shop: Shop, support: User) -> None:
    set_limits(shop, notes_above={"USD": 500})
    invoice = invoice_of_credits(shop)
    api = Api("credits:write", "invoices:read")
    small, large = stated(invoice), stated(invoice, "large")
    body = {
        "invoice": invoice.number, "reason": "goodwill", "memo": "a bad day",
        "lines": [{"line": small.position, "quantity": "60"}],
    }  # fmt: skip

    first, again = (api.post("credit_notes/proposals", body, "a") for _ in range(2))
    refused = api.post("credit_notes/proposals", body, "b")
    note = api.post("credit_notes", body, "c")

    assert (first.status_code, refused.status_code, note.status_code) == (201, 409, 403)
    (told,) = first.json()
    assert again.json() == [told]
    assert (told["credits"], told["amount"], told["decision"]) == ("60", "0.00", "submitted")
    assert told["gives_back"][0] == {
        "grant": str(CreditGrant.objects.get(category="paid").pk), "category": "paid",
        "credits": "50", "unit": "credit", "goes_to": "grant", "paid": ["10.00 USD"],
    }  # fmt: skip
    assert api.get("credit_notes/proposals?state=open&customer=acme").json()["data"] == [told]
    url = action_url(invoice, "propose_credit")
    send(client_of(support), url, reason="goodwill", memo="sorry", **{f"line_{large.pk}": "20"})
    row = ProposedCreditNote.objects.latest("id")
    assert (plain(row.restored_credits), row.policy_change.proposed_by) == ("20", support)
    page = client_of(shop.approver).get(object_url(row)).content.decode()
    assert "20 to grant" in page


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
