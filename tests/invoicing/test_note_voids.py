"""Voids of notes: what a note took off is owed again, unless something went back for it."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing_project.kernel.errors import (
    BillingError,
    Conflict,
    IdempotencyConflict,
    Insufficient,
    Invalid,
    NotAllowed,
)
from billing_project.kernel.models import User
from invoicing import checks
from invoicing.crediting import Settlement
from invoicing.models import (
    CreditNote,
    CreditNoteDocument,
    CreditNoteVoid,
    CustomerBalance,
    Invoice,
)
from invoicing.selectors import refund_left, refunds_due
from invoicing.services import note_voids, refunds
from invoicing.services.balances import pay_from_balance
from invoicing.services.documents import keep_document
from invoicing.services.endings import write_off_invoice
from invoicing.services.note_voids import preview_note_void, void_credit_note
from invoicing.services.refunds import record_refund
from tests.invoicing.builders import (
    START,
    Shop,
    at_once,
    check_what_is_deferred,
    customer_of,
    issued,
    note_on,
    open_shop,
    paid,
    registered_in,
    set_limits,
    sold_pack,
)

pytestmark = pytest.mark.django_db
LATER = START + timedelta(days=1)


def _void(shop: Shop, note: CreditNote, reason: str = "mistaken", by: User | None = None) -> object:
    return void_credit_note(credit_note=note, reason=reason, by=by or shop.approver, at=LATER)


def _refund(shop: Shop, note: CreditNote, minor: int) -> object:
    return record_refund(
        credit_note=note, amount_minor=minor, method="wire", reference="r", refunded_at=START,
        key=f"refund:{note.pk}", by=shop.maker, at=LATER,
    )  # fmt: skip


def _state(invoice: Invoice) -> tuple[str, int, int, int]:
    invoice.refresh_from_db()
    return invoice.status, invoice.open_minor, invoice.credited_minor, invoice.returned_minor


def _books_hold() -> None:
    check_what_is_deferred()
    found = [*checks.settlements_add_up(), *checks.balances_add_up(), *checks.numbers_gapless()]
    assert found == []


def test_a_void_opens_what_the_note_took_off(shop: Shop) -> None:
    registered_in(shop, "DE", "0.19", "USD")
    invoice = issued(shop, customer_of(shop, country="DE"), 10_000)
    note = note_on(shop, invoice, 10_000)
    assert _state(invoice) == ("paid", 0, 11_900, 0)

    seen = preview_note_void(note, START)
    row = _void(shop, note)

    assert (str(seen.claimed), str(seen.from_balance)) == ("119.00 USD", "0.00 USD")
    assert _state(invoice) == ("finalized", 11_900, 0, 0)
    line = invoice.lines.get()
    assert (line.credited_minor, line.tax_credited_minor) == (0, 0)
    assert _void(shop, note) == row  # The same again.
    with pytest.raises(IdempotencyConflict, match="voided before: mistaken"):
        _void(shop, note, "another reason")
    again = note_on(shop, invoice, 10_000, key="second")
    assert (again.number, _state(invoice)[0]) == ("CN-000002", "paid")
    _books_hold()


def test_a_void_takes_its_share_of_the_balance_and_drops_the_refund_it_promised(shop: Shop) -> None:
    invoice = paid(shop, issued(shop, customer_of(shop), 10_000))
    note = note_on(shop, invoice, 6_000, Settlement(refund_minor=4_000, balance_minor=2_000))
    assert _state(invoice) == ("paid", 0, 6_000, 4_000)

    _void(shop, note)

    assert _state(invoice) == ("paid", 0, 0, 0)
    assert CustomerBalance.objects.get().balance_minor == 0
    note = CreditNote.objects.get()
    assert (refund_left(note), refunds_due(10)) == (0, [])
    with pytest.raises(Insufficient):
        _refund(shop, note, 1_000)
    _books_hold()


def test_a_note_stands_once_money_went_back_for_it(shop: Shop) -> None:
    invoice = paid(shop, issued(shop, customer_of(shop), 10_000))
    sent = note_on(shop, invoice, 1_000, Settlement(refund_minor=1_000), key="a")
    _refund(shop, sent, 400)
    given = note_on(shop, invoice, 1_000, Settlement(out_of_band_minor=1_000), key="b")

    with pytest.raises(Conflict, match=r"4\.00 USD was refunded .* Claim what it gave away"):
        _void(shop, sent)
    with pytest.raises(Conflict, match="given back already"):
        _void(shop, given)
    for note in (sent, given):
        with pytest.raises(DatabaseError, match="money went back"), transaction.atomic():
            CreditNoteVoid.objects.create(
                credit_note=note, reason="r", voided_by=shop.maker, voided_at=LATER
            )


def test_a_note_stands_once_its_balance_paid_something(shop: Shop) -> None:
    customer = customer_of(shop)
    invoice = paid(shop, issued(shop, customer, 10_000))
    note = note_on(shop, invoice, 3_000)
    issued(shop, customer, 1_000)  # The balance pays it.

    with pytest.raises(Insufficient, match=r"left 30\.00 USD .* and 20\.00 USD is there"):
        _void(shop, note)
    with pytest.raises(IntegrityError, match="not_negative"), transaction.atomic():
        CreditNoteVoid.objects.create(
            credit_note=note, reason="r", voided_by=shop.maker, voided_at=LATER
        )


def test_a_note_stands_where_credits_were_granted_as_it_left_them(shop: Shop) -> None:
    pack = sold_pack(shop, customer_of(shop), 5_000)
    note = note_on(shop, pack, 2_000)
    pack.refresh_from_db()
    paid(shop, pack)

    with pytest.raises(Conflict, match=r"granted its credits .* Sell what is missing"):
        _void(shop, note)


def test_a_note_on_what_was_written_off_stands(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop), 10_000)
    note = note_on(shop, invoice, 1_000)
    write_off_invoice(invoice=invoice, reason="insolvent", by=shop.approver, at=START)

    with pytest.raises(Conflict, match="is uncollectible"):
        _void(shop, note)
    with pytest.raises(DatabaseError, match="has ended"), transaction.atomic():
        CreditNoteVoid.objects.create(
            credit_note=note, reason="r", voided_by=shop.maker, voided_at=LATER
        )


@pytest.mark.parametrize("key", ["seat_change:4:1", "billing_period:3:unused:9", "l:made_up:3"])
def test_a_note_of_a_change_is_undone_with_the_change(shop: Shop, key: str) -> None:
    invoice = issued(shop, customer_of(shop), 10_000)
    note = note_on(shop, invoice, 1_000)
    note.source_key = key

    with pytest.raises(Conflict, match="undo the change"):
        note_voids.refuse_standing(note, START)


def test_above_the_limit_somebody_else_who_approves_voids(shop: Shop, support: User) -> None:
    set_limits(shop, notes_above={"USD": 1_000}, most_lines=10, most_drafts=10)
    invoice = issued(shop, customer_of(shop), 10_000)
    small, large = (note_on(shop, invoice, minor, key=str(minor)) for minor in (1_000, 1_001))

    with pytest.raises(NotAllowed, match="may not void"):
        _void(shop, small, by=support)
    with pytest.raises(Invalid):
        _void(shop, small, " ")
    _void(shop, small, by=shop.maker)
    with pytest.raises(NotAllowed, match="an approver voids it"):
        _void(shop, large, by=shop.maker)
    _void(shop, large, by=shop.approver)
    _books_hold()


def test_a_notes_document_is_set_once(shop: Shop) -> None:
    note = note_on(shop, issued(shop, customer_of(shop), 10_000), 1_000)
    first = keep_document(subject=note, at=START)
    CreditNote.objects.get()
    _void(shop, note)

    again = keep_document(subject=note, at=LATER)
    assert (again.pk, bytes(again.content)) == (first.pk, bytes(first.content))
    assert bytes(again.content).startswith(b"%PDF-")
    with pytest.raises(DatabaseError), transaction.atomic():
        CreditNoteDocument.objects.update(content=b"x")


# Two at once.


@pytest.fixture
def gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait between judging a void, or a refund, and writing it."""
    judge, look = note_voids.refuse_standing, refund_left

    def slowly(note: CreditNote, at: datetime) -> None:
        judge(note, at)
        time.sleep(0.25)

    def slow_look(note: CreditNote) -> int:
        left = look(note)
        time.sleep(0.25)
        return left

    monkeypatch.setattr(note_voids, "refuse_standing", slowly)
    monkeypatch.setattr(refunds, "refund_left", slow_look)


def _told(act: Callable[[], object]) -> Callable[[], object]:
    def attempt() -> object:
        try:
            return act()
        except DatabaseError as error:
            return error

    return attempt


def _race(shop: Shop, other: str) -> tuple[CreditNote, list[object]]:
    """Void a note while its refund is recorded, or its balance pays another invoice."""
    customer = customer_of(shop)
    invoice = paid(shop, issued(shop, customer, 10_000))
    claim = issued(shop, customer, 3_000)
    settlement = Settlement(refund_minor=3_000) if other == "refund" else None
    note = note_on(shop, invoice, 3_000, settlement)
    acts = {
        "refund": lambda: _refund(shop, note, 3_000),
        "apply": lambda: pay_from_balance(invoice=claim, by=shop.worker, at=LATER),
        "void": lambda: _void(shop, note),
    }
    return note, at_once(_told(lambda: _void(shop, note)), _told(acts[other]))


@pytest.mark.usefixtures("gap")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("other", ["refund", "apply", "void"])
def test_of_a_void_and_what_uses_the_note_one_happens(other: str) -> None:
    shop = open_shop()
    note, results = _race(shop, other)

    assert [one for one in results if isinstance(one, DatabaseError)] == []
    refused = [one for one in results if isinstance(one, BillingError)]
    assert len(refused) == (0 if other == "void" else 1)
    is_void = CreditNoteVoid.objects.filter(credit_note=note).exists()
    assert is_void == (other == "void" or not isinstance(results[0], BillingError))
    _books_hold()


@pytest.mark.usefixtures("gap")
@pytest.mark.django_db(transaction=True)
def test_canary_without_the_lock_both_believe_that_the_note_is_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It shows that the gap is wide enough for the test above to mean something.
    shop = open_shop()
    for module in (note_voids, refunds):
        monkeypatch.setattr(module, "lock_invoice", lambda invoice: invoice)
    note, results = _race(shop, "refund")

    # Both passed their checks: the database's own rule is the net below.
    assert [one for one in results if isinstance(one, BillingError)] == []
    assert len([one for one in results if isinstance(one, DatabaseError)]) == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM refund WHERE credit_note_id = %s", [note.pk])
        made = cursor.fetchone()[0]
    assert made + CreditNoteVoid.objects.count() == 1
    _books_hold()
