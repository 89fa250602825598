"""Credit notes on what an invoice states as used: credits go back to the grants that paid."""

from decimal import Decimal
from functools import partial

import pytest
from django.db import DatabaseError, transaction
from django.test import override_settings

from billing_project.console.lineage import NodeType, Ref, trace
from billing_project.kernel.backoffice.display import object_url
from billing_project.kernel.errors import (
    Conflict,
    IdempotencyConflict,
    Insufficient,
    Invalid,
    NotAllowed,
)
from billing_project.kernel.models import User
from credits.models import CreditGrant, RatedUsage
from credits.services.grants import void_grant
from invoicing.completeness import account_of
from invoicing.documents import credit_note_data
from invoicing.models import CreditNote, CreditNoteLine, Invoice
from invoicing.selectors.completeness import figures_of
from invoicing.selectors.restoring import credits_restored, restorable
from invoicing.services.credit_notes import issue_credit_note, preview_credit_note
from invoicing.services.invoices import draft_overage_invoices, finalize_invoice
from invoicing.services.note_voids import preview_note_void, void_credit_note
from tests.console.backoffice import action_url, client_of, send, told
from tests.credits.builders import figures
from tests.invoicing.builders import (
    DAY,
    START,
    Shop,
    cancel,
    check_what_is_deferred,
    overage_invoices,
    set_limits,
    use,
)
from tests.invoicing.stated import LATER, invoice_of_credits, stated
from tests.invoicing.test_api import Api

pytestmark = pytest.mark.django_db


def _give_back(
    shop: Shop, invoice: Invoice, model: str, amount: int, key: str = "note-1",
    by: User | None = None,
) -> CreditNote:  # fmt: skip
    return issue_credit_note(
        invoice=invoice, lines=[], restored=[(stated(invoice, model), Decimal(amount))],
        reason="service_failure", memo="Wrong answers", key=key, by=by or shop.maker, at=LATER,
    )  # fmt: skip


def test_credits_go_back_to_the_grants_that_paid_the_newest_burn_first(shop: Shop) -> None:
    invoice = invoice_of_credits(shop)
    line = stated(invoice, "small")
    seen = preview_credit_note(invoice=invoice, lines=[], restored=[(line, Decimal(60))], at=LATER)

    note = _give_back(shop, invoice, "small", 60)
    check_what_is_deferred()

    # The pack has no end and burned last; the included credits were over by then.
    expected = [("paid", Decimal(50), "grant"), ("included", Decimal(10), "linked_grant")]
    told = [(part.grant.category, part.credits, part.goes_to) for part in seen.restored]
    assert told == expected
    found = credits_restored(note)
    assert [(part.grant.category, part.credits, part.goes_to) for part in found] == expected
    assert CreditGrant.objects.get(category="paid").remaining == 50
    assert CreditGrant.objects.get(category="included", origin__isnull=False).remaining == 10
    assert (note.total_minor, note.restored_credits, note.number) == (0, Decimal(60), "CN-000001")
    invoice.refresh_from_db()
    assert (invoice.credited_minor, invoice.status) == (0, "finalized")
    period = invoice.lines.get(kind="overage").billing_period
    assert period is not None
    [seen_period] = figures_of([period])
    assert account_of(seen_period.figures, LATER, LATER).is_complete
    edges = trace([Ref(NodeType.CREDIT_NOTE, note.pk)]).edges
    assert [edge.label for edge in edges if edge.source.type == NodeType.CREDIT_NOTE] == [
        "gave back", "gave back",
    ]  # fmt: skip


def test_a_note_may_take_money_off_and_give_credits_back(shop: Shop) -> None:
    invoice = invoice_of_credits(shop)
    asked = [(invoice.lines.get(kind="overage"), 12)]
    issue = partial(
        issue_credit_note, invoice=invoice, lines=asked, reason="goodwill", memo="", key="both",
        restored=[(stated(invoice, "small"), Decimal("5.5"))], by=shop.maker, at=LATER,
    )  # fmt: skip

    note = issue()

    assert (note.total_minor, note.restored_credits, issue()) == (12, Decimal("5.5"), note)
    with pytest.raises(IdempotencyConflict):
        issue(restored=[(stated(invoice, "small"), Decimal(6))])
    lines = credit_note_data(note)["lines"]
    assert isinstance(lines, list)
    assert [line["amount"] for line in lines] == ["$0.12", "5.5 credits"]


@pytest.mark.parametrize(
    ("model", "amount", "error", "message"),
    [
        ("small", 131, Insufficient, "has 130 credits left to give back, not 131"),
        ("large", 50, Insufficient, "grants paid 20 credits of it, not 50"),
        ("small", 0, Invalid, "more than nothing"),
    ],
)
def test_what_grants_did_not_pay_is_refused(
    shop: Shop, model: str, amount: int, error: type[Exception], message: str
) -> None:
    invoice = invoice_of_credits(shop)

    with pytest.raises(error, match=message):
        _give_back(shop, invoice, model, amount)
    assert not CreditNote.objects.exists()


def test_only_lines_that_state_credits_give_some_back(shop: Shop) -> None:
    invoice = invoice_of_credits(shop)
    overage = invoice.lines.get(kind="overage")

    with pytest.raises(Invalid, match="states no credits used"):
        issue_credit_note(
            invoice=invoice, lines=[], restored=[(overage, Decimal(1))], reason="goodwill",
            memo="", key="k", by=shop.maker, at=LATER,
        )  # fmt: skip


def test_notes_one_after_the_other_give_no_more_back_than_was_paid(shop: Shop) -> None:
    invoice = invoice_of_credits(shop)
    _give_back(shop, invoice, "small", 100)

    with pytest.raises(Insufficient, match="30 credits left"):
        _give_back(shop, invoice, "small", 31, "note-2")
    _give_back(shop, invoice, "small", 30, "note-3")
    assert [(part.line.description, part.credits) for part in restorable(
        list(invoice.lines.filter(kind="credits_used")), LATER
    )] == [("Output tokens, large", Decimal(20))]  # fmt: skip


def test_a_late_line_shows_what_would_come_back_of_it_and_not_of_its_hour(shop: Shop) -> None:
    early = invoice_of_credits(shop)
    cancel(shop, "req-2", LATER)  # 30 overage are undone, and 20 credits return to the pack.
    use(shop, 60, START + DAY, "req-3", known_at=LATER)  # In the hour of req-1: 20 drawn, 40 more.
    draft_overage_invoices(by=shop.worker, at=LATER)
    assert early.subscription is not None
    draft = overage_invoices(early.subscription)[1]
    late = finalize_invoice(invoice=draft, by=shop.maker, at=LATER)
    line = stated(late)

    assert line.quantity == 60  # Of an hour of which grants paid 150.
    for given, shown in (("15", [50, 10]), ("45", [35, 10])):
        assert [part.credits for part in restorable([line], LATER)] == shown
        asked = [(line, Decimal(given))]
        seen = preview_credit_note(invoice=late, lines=[], restored=asked, at=LATER)
        note = issue_credit_note(
            invoice=late, lines=[], restored=asked, reason="goodwill", memo="", key=given,
            by=shop.maker, at=LATER,
        )  # fmt: skip
        assert credits_restored(note) == list(seen.restored)
    assert restorable([line], LATER) == []


def test_a_cancelled_event_gives_back_only_what_a_note_did_not(shop: Shop) -> None:
    invoice = invoice_of_credits(shop)
    _give_back(shop, invoice, "small", 60)

    cancel(shop, "req-1", LATER + DAY)  # 130 credits: 30 overage, 60 by the note, 40 return.

    row = RatedUsage.objects.get(charge__lt=0)
    assert figures(row.overage, row.forgiven, row.drawn) == "-30 -60 -40"


def test_a_void_note_takes_its_credits_again(shop: Shop) -> None:
    invoice = invoice_of_credits(shop)
    note = _give_back(shop, invoice, "small", 60)
    assert preview_note_void(note, LATER).taken_again == 60

    void_credit_note(credit_note=note, reason="a mistake", by=shop.maker, at=LATER)

    assert sum(grant.remaining for grant in CreditGrant.objects.all()) == 0
    _give_back(shop, invoice, "small", 130, "note-2")  # All of it may go back once more.


def test_a_note_whose_credits_were_used_stays(shop: Shop) -> None:
    invoice = invoice_of_credits(shop)
    note = _give_back(shop, invoice, "small", 60)
    pack = CreditGrant.objects.get(category="paid")
    void_grant(grant=pack, reason_code="duplicate", by=shop.maker, at=LATER)

    with pytest.raises(Conflict, match="CN-000001 stays"):
        void_credit_note(credit_note=note, reason="a mistake", by=shop.maker, at=LATER)


def test_the_database_refuses_more_credits_than_a_line_states(shop: Shop) -> None:
    invoice = invoice_of_credits(shop)
    note = _give_back(shop, invoice, "small", 60)
    line = stated(invoice, "large")

    with pytest.raises(DatabaseError, match="notes give back 51"), transaction.atomic():
        CreditNoteLine.objects.create(
            credit_note=note, invoice_line=line, amount_minor=0, restored_credits=51
        )
    CreditNoteLine.objects.create(
        credit_note=note, invoice_line=line, amount_minor=0, restored_credits=1
    )
    with pytest.raises(DatabaseError, match=r"gives back 60\.0* credits but its lines 61"):
        check_what_is_deferred()


def test_support_gives_back_paid_credits_up_to_its_limit(shop: Shop, support: User) -> None:
    set_limits(shop, notes_above={"USD": 500})
    invoice = invoice_of_credits(
        shop
    )  # A credit of the pack cost 10.00 / 50 = 0.20; 5.00 are 25 credits.

    with pytest.raises(NotAllowed, match=r"5\.20 USD is above 5\.00 USD"):
        _give_back(shop, invoice, "small", 26, by=support)
    assert _give_back(shop, invoice, "small", 25, by=support).restored_credits == 25


def test_the_dialog_shows_who_would_get_them_and_the_note_says_who_did(
    shop: Shop, support: User
) -> None:
    set_limits(shop, notes_above={"USD": 5_000})
    invoice = invoice_of_credits(shop)
    client, url = client_of(support), action_url(invoice, "credit")
    field = f"line_{stated(invoice, 'small').pk}"

    page = client.get(url).content.decode()
    answer = send(client, url, **{field: "60"}, reason="goodwill", memo="Sorry")

    assert "which is over: to a new grant linked to it" in page
    assert "0.00 USD and 60 credits" in told(answer)
    assert "which is over" in client.get(object_url(CreditNote.objects.get())).content.decode()


@override_settings(BILLING_CLOCK=LATER.isoformat())
def test_a_key_gives_credits_back_by_quantity_or_percentage(shop: Shop) -> None:
    api, invoice = Api("credits:write", "invoices:read"), invoice_of_credits(shop)
    position = stated(invoice, "small").position
    pack = CreditGrant.objects.get(category="paid")

    def body(**asked: str) -> dict[str, object]:
        lines = [{"line": position, **asked}]
        return {"invoice": invoice.number, "lines": lines, "reason": "goodwill", "memo": ""}

    asked = {"invoice": invoice.number, "lines": [{"line": position, "percent": "30"}]}
    seen = api.post("credit_notes/preview", asked).json()
    money = api.post("credit_notes", body(amount="1"), "a")
    more = api.post("credit_notes", body(quantity="131"), "b")
    note = api.post("credit_notes", body(quantity="39"), "c").json()

    to_pack = {
        "line": position, "grant": str(pack.pk), "credits": "39", "unit": "credit",
        "goes_to": "grant",
    }  # fmt: skip
    assert (seen["total"], seen["restored"]) == ("0.00", [to_pack])  # 130 x 30 % = 39.
    assert (money.status_code, more.status_code) == (422, 409)
    assert (note["total"], note["restored"]) == ("0.00", [to_pack])
    assert note["lines"][0]["credits"] == "39"
    assert api.get(f"credit_notes/{note['number']}").json() == note
