"""Issued claims that end unpaid: void as if never made, made anew, or given up and recovered."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from time import sleep
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import BillingError, Conflict, IdempotencyConflict, NotAllowed
from billing_project.kernel.models import User
from invoicing.checks import (
    overage_is_invoiced_or_unbilled,
    settlements_add_up,
    voids_free_their_usage,
)
from invoicing.models import (
    CreditNote,
    CreditNoteVoid,
    Invoice,
    InvoiceVoid,
    LineUsage,
    Payment,
    WriteOff,
)
from invoicing.selectors import overage_state
from invoicing.selectors.settlement import given_up_of
from invoicing.services import endings, locks
from invoicing.services.endings import void_and_regenerate, void_invoice, write_off_invoice
from invoicing.services.invoices import (
    draft_overage_invoices,
    finalize_due,
    finalize_invoice,
)
from invoicing.services.locks import CREDIT_NOTE_SERIES, take_number
from invoicing.services.note_voids import void_credit_note
from invoicing.services.payments import record_payment
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    at_once,
    cancel,
    check_what_is_deferred,
    customer_of,
    first_period,
    issued,
    note_on,
    open_shop,
    overage_invoices,
    paid,
    sold_pack,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db
LATER = END + 2 * DAY


def _void(shop: Shop, invoice: Invoice, reason: str = "wrong customer") -> InvoiceVoid:
    return void_invoice(invoice=invoice, reason=reason, by=shop.maker, at=LATER)


def _write_off(shop: Shop, invoice: Invoice, reason: str = "insolvent") -> WriteOff:
    return write_off_invoice(invoice=invoice, reason=reason, by=shop.approver, at=LATER)


def _state(invoice: Invoice) -> tuple[str, int, int, int]:
    invoice.refresh_from_db()
    return invoice.status, invoice.open_minor, invoice.written_off_minor, invoice.paid_minor


def _findings() -> list[object]:
    return [
        *settlements_add_up(), *voids_free_their_usage(), *overage_is_invoiced_or_unbilled(),
    ]  # fmt: skip


def _overage(shop: Shop) -> Invoice:
    """Issue the overage of 50 credits at USD 0.012: 0.60."""
    subscription = subscribed(shop)
    use(shop, 150, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    [invoice] = overage_invoices(subscription)
    return invoice


def test_a_void_invoice_claims_nothing_and_keeps_its_number(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop), 5000)

    row = _void(shop, invoice)

    assert _state(invoice) == ("void", 0, 0, 0)
    assert (invoice.number, invoice.total_minor) == ("INV-000001", 5000)
    assert _void(shop, invoice).pk == row.pk  # The same again.
    with pytest.raises(IdempotencyConflict, match="wrong customer"):
        _void(shop, invoice, "another reason")
    check_what_is_deferred()
    assert _findings() == []


def test_usage_of_a_void_invoice_is_billed_again_exactly_once(shop: Shop) -> None:
    old = _overage(shop)
    cancel(shop, "req-1", END + DAY)
    use(shop, 140, START + DAY, "req-2", known_at=END + DAY)

    draft = void_and_regenerate(invoice=old, reason="wrong usage", by=shop.maker, at=LATER)
    again = void_and_regenerate(invoice=old, reason="wrong usage", by=shop.maker, at=LATER)
    finalize_invoice(invoice=draft, by=shop.worker, at=LATER)
    late = draft_overage_invoices(by=shop.worker, at=LATER)

    draft.refresh_from_db()
    assert (again.pk, draft.replaces, late) == (draft.pk, old, 0)
    assert (draft.number, draft.total_minor) == ("INV-000003", 48)  # 40 credits x 0.012.
    line = draft.lines.get(kind="overage")
    assert (line.quantity, line.description) == (Decimal(40), "Credits used beyond those granted")
    billed = LineUsage.objects.filter(is_void=False, kind="overage")
    assert {row.line_id for row in billed} == {line.pk}
    assert draft.subscription is not None
    assert overage_state(first_period(draft.subscription)).unbilled == 0
    check_what_is_deferred()
    assert _findings() == []


def test_other_lines_are_copied_under_keys_of_their_own(shop: Shop) -> None:
    pack = sold_pack(shop, customer_of(shop), 900)

    draft = void_and_regenerate(invoice=pack, reason="wrong address", by=shop.maker, at=LATER)
    new = paid(shop, finalize_invoice(invoice=draft, by=shop.worker, at=LATER + DAY))

    old_line, new_line = pack.lines.get(), new.lines.get()
    assert (new_line.amount_minor, new_line.quantity) == (900, Decimal(100))
    assert new_line.source_key != old_line.source_key
    assert (_state(pack)[0], _state(new)[0]) == ("void", "paid")
    check_what_is_deferred()
    assert _findings() == []


def test_what_was_settled_in_part_is_credited_and_not_voided(shop: Shop) -> None:
    customer = customer_of(shop)
    part = paid(shop, issued(shop, customer, 5000), 1000)
    noted = issued(shop, customer, 5000)
    note_on(shop, noted, 700)
    settled = paid(shop, issued(shop, customer, 5000))

    with pytest.raises(Conflict, match=r"10\.00 USD of INV-000001 is settled already: credit it"):
        _void(shop, part)
    with pytest.raises(Conflict, match=r"7\.00 USD of INV-000002"):
        _void(shop, noted)
    with pytest.raises(Conflict, match="nothing open"):
        _void(shop, settled)
    with pytest.raises(DatabaseError, match="nothing settled"), transaction.atomic():
        InvoiceVoid.objects.create(
            invoice=part, reason="around", voided_by=shop.maker, voided_at=LATER
        )


def test_a_write_off_gives_up_what_is_open_and_payments_recover_it(shop: Shop) -> None:
    invoice = paid(shop, issued(shop, customer_of(shop), 5000), 1000)

    row = _write_off(shop, invoice)

    assert (row.amount_minor, _state(invoice)) == (4000, ("uncollectible", 0, 4000, 1000))
    paid(shop, invoice, 1500)
    assert _state(invoice) == ("uncollectible", 0, 2500, 2500)
    with pytest.raises(Conflict, match=r"25\.00 USD open"):
        paid(shop, invoice, 2501)
    paid(shop, invoice, 2500)
    assert _state(invoice) == ("paid", 0, 0, 5000)
    assert [p.is_recovery for p in Payment.objects.order_by("id")] == [False, True, True]
    assert _findings() == []


def test_a_note_takes_off_what_was_given_up_before_what_was_paid(shop: Shop) -> None:
    invoice = paid(shop, issued(shop, customer_of(shop), 5000), 1000)
    _write_off(shop, invoice)

    first = note_on(shop, invoice, 1500, key="first")
    assert (first.open_minor, _state(invoice)) == (1500, ("uncollectible", 0, 2500, 1000))
    paid(shop, invoice, 500)
    second = note_on(shop, invoice, 2500, key="second")

    assert (second.open_minor, second.balance_minor) == (2000, 500)
    assert _state(invoice) == ("paid", 0, 0, 1500)
    assert [given_up_of(note) for note in (first, second)] == [1500, 2000]
    with pytest.raises(Conflict, match=r"was written off: CN-000002 stays"):
        void_credit_note(credit_note=second, reason="mistaken", by=shop.maker, at=LATER)
    with pytest.raises(DatabaseError, match="the note stays"), transaction.atomic():
        CreditNoteVoid.objects.create(
            credit_note=second, reason="around", voided_by=shop.maker, voided_at=LATER
        )
    check_what_is_deferred()
    assert _findings() == []


def test_a_note_from_before_a_write_off_took_off_what_was_open(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop), 5000)
    before = note_on(shop, invoice, 1500, key="before")
    _write_off(shop, invoice)

    after = note_on(shop, invoice, 1500, key="after")

    assert [given_up_of(note) for note in (before, after)] == [0, 1500]
    with pytest.raises(DatabaseError):  # More than the 20.00 that are left.
        _forge_note(after, 2001)


@transaction.atomic
def _forge_note(like: CreditNote, open_minor: int) -> None:
    sequence, number = take_number(CREDIT_NOTE_SERIES, like.entity_id)
    CreditNote.objects.create(
        invoice=like.invoice, number=number, sequence=sequence, reason="goodwill", currency="USD",
        total_minor=open_minor, open_minor=open_minor, balance_minor=0, issued_by=like.issued_by,
        issued_at=LATER, source_key="forged",
    )  # fmt: skip


def test_a_pack_that_is_recovered_in_full_is_granted(shop: Shop) -> None:
    pack = sold_pack(shop, customer_of(shop), 900)
    _write_off(shop, pack)

    paid(shop, pack, 900)

    assert _state(pack) == ("paid", 0, 0, 900)
    assert pack.lines.get().invoice.customer.pk == pack.customer_id


def test_only_finance_ends_claims(shop: Shop, support: User) -> None:
    invoice = issued(shop, customer_of(shop), 5000)

    with pytest.raises(NotAllowed):
        void_invoice(invoice=invoice, reason="x", by=support, at=LATER)
    with pytest.raises(NotAllowed):  # A maker proposes; giving up money is the approver's.
        write_off_invoice(invoice=invoice, reason="x", by=shop.maker, at=LATER)


_MOVES = {
    "void": "UPDATE invoice SET status = 'void', open_minor = 0",
    "uncollectible": (
        "UPDATE invoice SET status = 'uncollectible', open_minor = 0, written_off_minor = 5000"
    ),
    "paid": "UPDATE invoice SET status = 'paid', open_minor = 0",
    "draft": "UPDATE invoice SET status = 'draft', number = NULL",
}


@pytest.mark.parametrize("move", _MOVES)
def test_postgresql_refuses_states_set_by_hand(shop: Shop, move: str) -> None:
    issued(shop, customer_of(shop), 5000)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_MOVES[move])


def _pay(shop: Shop, invoice: Invoice) -> object:
    return record_payment(
        invoice=invoice, amount_minor=5000, method="card", reference="race", paid_at=START,
        by=shop.worker, at=START,
    )  # fmt: skip


Act = Callable[[Shop, Invoice], object]
ACTS: dict[str, Act] = {
    "finalize": lambda shop, invoice: finalize_invoice(invoice=invoice, by=shop.worker, at=START),
    "pay": _pay,
    "credit": lambda shop, invoice: note_on(shop, invoice, 5000),
    "void": _void,
    "regenerate": lambda shop, invoice: void_and_regenerate(
        invoice=invoice, reason="wrong customer", by=shop.maker, at=LATER
    ),
    "write_off": _write_off,
}
# What each pair leaves, in either order: one of them stands. A recovery pays what was given up.
ENDS = {
    "finalize": {"finalized"}, "pay": {"paid"}, "credit": {"paid"}, "void": {"void"},
    "regenerate": {"void"}, "write_off": {"uncollectible"},
}  # fmt: skip
PAIRS = [(a, b) for i, a in enumerate(ACTS) for b in list(ACTS)[i + 1 :]]


@pytest.mark.django_db(transaction=True)
def test_each_pair_of_transitions_has_one_legal_order(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = open_shop()
    _with_a_gap(monkeypatch)
    for number, (first, second) in enumerate(PAIRS):
        invoice = issued(shop, customer_of(shop, f"customer-{number}"), 5000)

        results = at_once(partial(ACTS[first], shop, invoice), partial(ACTS[second], shop, invoice))

        status = _state(invoice)[0]
        assert any(not isinstance(one, BillingError) for one in results), results
        assert status in ENDS[first] | ENDS[second] | {"paid"}, (first, second, status)
        has_paid = Payment.objects.filter(invoice=invoice).exists()
        assert not (has_paid and InvoiceVoid.objects.filter(invoice=invoice).exists())
    assert _findings() == []


@pytest.mark.django_db(transaction=True)
def test_the_lock_is_what_orders_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it both find the invoice open, and PostgreSQL's own rule has to stop one of them."""
    shop = open_shop()
    invoice = issued(shop, customer_of(shop), 5000)
    _with_a_gap(monkeypatch)
    monkeypatch.setattr(endings, "lock_invoice", lambda i: _late(Invoice.objects.get(pk=i.pk)))

    def caught(act: Act) -> object:
        try:
            return act(shop, invoice)
        except DatabaseError as error:
            return error

    results = at_once(lambda: caught(_void), lambda: caught(_write_off))

    assert sum(isinstance(one, DatabaseError) for one in results) == 1
    assert _state(invoice)[0] in {"void", "uncollectible"}


def _late(found: Any) -> Any:
    sleep(0.03)
    return found


def _with_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time pass between a service's look at an invoice and what it does."""
    real = locks.lock_invoice
    for module in ("endings", "payments", "credit_notes", "invoices"):
        monkeypatch.setattr(
            f"invoicing.services.{module}.lock_invoice", lambda invoice: _late(real(invoice))
        )
