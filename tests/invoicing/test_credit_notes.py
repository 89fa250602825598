"""Credit notes: numbered, within what is left, open first; and what they refuse."""

from datetime import datetime
from decimal import Decimal
from time import sleep

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel import outbox
from billing_project.kernel.errors import (
    Conflict,
    IdempotencyConflict,
    Insufficient,
    Invalid,
    NotAllowed,
)
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from credits.models import CreditGrant
from credits.services.clawing import claw_back
from credits.services.grants import expire_grant, void_grant
from credits.services.periods import open_billing_period
from credits.services.reinstating import reinstate_grant
from invoicing.crediting import Settlement, Split
from invoicing.models import CreditNote, CreditNoteLine, Invoice, NumberSeries
from invoicing.services import credit_notes as module
from invoicing.services.credit_notes import issue_credit_note, preview_credit_note
from invoicing.services.invoices import finalize_invoice
from invoicing.services.packs import sell_credit_pack
from invoicing.services.payments import record_payment
from tests.invoicing.builders import (
    DAY,
    START,
    Shop,
    at_once,
    cancel,
    customer_of,
    fee_invoice,
    open_shop,
    refusals,
    set_limits,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db


def _issued(shop: Shop, name: str = "acme") -> Invoice:
    return finalize_invoice(invoice=fee_invoice(subscribed(shop, name)), by=shop.maker, at=START)


def _note(
    shop: Shop, invoice: Invoice, amount_minor: int, key: str = "note-1", by: User | None = None,
    reason: str = "service_failure", at: datetime = START + DAY,
) -> CreditNote:  # fmt: skip
    return issue_credit_note(
        invoice=invoice, lines=[(invoice.lines.get(position=1), amount_minor)], reason=reason,
        memo="Slow answers", key=key, by=by or shop.maker, at=at,
    )  # fmt: skip


def _pay(shop: Shop, invoice: Invoice, amount_minor: int, reference: str = "wire-1") -> object:
    return record_payment(
        invoice=invoice, amount_minor=amount_minor, method="bank_transfer", reference=reference,
        paid_at=START, by=shop.maker, at=START,
    )  # fmt: skip


def test_a_note_reduces_what_is_open_first_and_owes_the_rest_back(shop: Shop) -> None:
    invoice = _issued(shop)
    _pay(shop, invoice, 4000)

    note = _note(shop, invoice, 1500)  # 49.00 - 40.00 = 9.00 open, so 6.00 was paid.

    assert (note.number, note.total_minor) == ("CN-000001", 1500)
    assert (note.open_minor, note.balance_minor) == (900, 600)
    invoice.refresh_from_db()
    assert (invoice.status, invoice.open_minor, invoice.credited_minor) == ("paid", 0, 1500)
    assert invoice.lines.get().credited_minor == 1500
    assert invoice.customer_id in outbox.waiting("money_changed")


def test_the_same_note_again_is_the_same_row(shop: Shop) -> None:
    invoice = _issued(shop)
    note = _note(shop, invoice, 1500)

    assert _note(shop, invoice, 1500) == note
    with pytest.raises(IdempotencyConflict):
        _note(shop, invoice, 1400)
    assert NumberSeries.objects.get(code="CN").last_number == 1


def test_more_than_is_left_is_refused_and_no_number_is_lost(shop: Shop) -> None:
    invoice = _issued(shop)
    _note(shop, invoice, 4000)

    with pytest.raises(Insufficient, match=r"line 1 has 9\.00 USD left to credit, not 9\.01 USD"):
        _note(shop, invoice, 901, "note-2")

    assert NumberSeries.objects.get(code="CN").last_number == 1


def test_a_note_needs_its_reason_and_key(shop: Shop) -> None:
    invoice = _issued(shop)

    with pytest.raises(Invalid, match="billing_error"):
        _note(shop, invoice, 1, reason="because")
    with pytest.raises(Invalid, match="1 to 120"):
        _note(shop, invoice, 1, key="k" * 121)


def test_a_draft_and_another_invoices_line_are_refused(shop: Shop) -> None:
    draft, issued = fee_invoice(subscribed(shop, "globex")), _issued(shop)

    with pytest.raises(Conflict, match="a draft is not credited"):
        _note(shop, draft, 1)
    with pytest.raises(Invalid, match="lines of INV-000001 only"):
        issue_credit_note(
            invoice=issued, lines=[(draft.lines.get(), 1)], reason="goodwill", memo="", key="n",
            by=shop.maker, at=START,
        )  # fmt: skip


def test_people_need_the_permission_and_services_were_checked_before(
    shop: Shop, support: User, auditor: User
) -> None:
    set_limits(shop, notes_above={"USD": 100})
    invoice = _issued(shop)

    with pytest.raises(NotAllowed):
        _note(shop, invoice, 100, by=auditor)
    assert _note(shop, invoice, 100, "a", by=support).number == "CN-000001"
    assert _note(shop, invoice, 100, "b", by=shop.worker).number == "CN-000002"


def test_a_preview_stores_nothing(shop: Shop) -> None:
    invoice = _issued(shop)
    _pay(shop, invoice, 4000)
    invoice.refresh_from_db()

    seen = preview_credit_note(invoice=invoice, lines=[(invoice.lines.get(), 1500)], at=START)

    assert seen.split == Split(900, Settlement(balance_minor=600))
    assert not CreditNote.objects.exists()


def test_a_pack_is_credited_only_after_its_grant_was_voided(shop: Shop) -> None:
    invoice = sell_credit_pack(
        customer=customer_of(shop), pricing_unit=shop.unit, amount=Decimal(1000),
        price_minor=9000, key="pack", by=shop.maker, at=START,
    )  # fmt: skip
    _pay(shop, invoice, 9000)

    with pytest.raises(Conflict, match="void the grant first"):
        _note(shop, invoice, 9000)
    void_grant(
        grant=CreditGrant.objects.get(), reason_code="returned", by=shop.maker, at=START + DAY
    )

    note = _note(shop, invoice, 9000)
    assert (note.open_minor, note.balance_minor) == (0, 9000)
    assert CreditGrant.objects.count() == 1  # Nothing is granted anew.


def _paid_pack(shop: Shop) -> tuple[Invoice, CreditGrant]:
    invoice = sell_credit_pack(
        customer=customer_of(shop), pricing_unit=shop.unit, amount=Decimal(1000),
        price_minor=9000, key="pack", by=shop.maker, at=START,
    )  # fmt: skip
    _pay(shop, invoice, 9000)
    return invoice, CreditGrant.objects.get()


def test_a_pack_that_was_voided_and_reinstated_is_not_credited(shop: Shop) -> None:
    invoice, grant = _paid_pack(shop)
    void_grant(grant=grant, reason_code="returned", by=shop.maker, at=START + DAY)
    reinstate_grant(grant=grant, reason_code="mistake", by=shop.maker, at=START + DAY)

    with pytest.raises(Conflict, match=f"grant {grant.pk}"):
        _note(shop, invoice, 9000)
    open_billing_period(
        customer=grant.customer, rate_card=shop.rate_card, period=Period(START, START + 30 * DAY),
        source_key="test", at=START,
    )  # fmt: skip
    use(shop, 1000, START + 2 * DAY)
    grant.refresh_from_db()
    assert grant.remaining == 0
    with pytest.raises(Conflict, match="granted already"):  # What was reinstated was used.
        _note(shop, invoice, 9000)


@pytest.mark.parametrize(
    ("used", "words"),
    [
        (0, "what was unused lapsed. Claw back the purchase first"),
        (400, "400 of 1000 credits were used and stay used. Claw back the purchase first"),
        (1000, "all of them were used, so that nothing is left to void"),
    ],
)
def test_a_pack_of_which_nothing_remains_is_credited_after_a_claw_back(
    shop: Shop, used: int, words: str
) -> None:
    invoice, grant = _paid_pack(shop)
    open_billing_period(
        customer=grant.customer, rate_card=shop.rate_card, period=Period(START, START + 30 * DAY),
        source_key="test", at=START,
    )  # fmt: skip
    if used:
        use(shop, used, START + DAY)
    if used < 1000:
        expire_grant(grant=grant, reason_code="contract_ended", by=shop.maker, at=START + 2 * DAY)

    with pytest.raises(Conflict) as refused:
        _note(shop, invoice, 9000)
    assert words in str(refused.value)
    assert f"(grant {grant.pk})" in str(refused.value)
    row = claw_back(
        grant=grant, reason="refund", reference="re_1", by=shop.maker, at=START + 3 * DAY
    )

    assert (row.credits, row.used) == (Decimal(0), Decimal(used))
    assert _note(shop, invoice, 9000).balance_minor == 9000


def test_a_pack_whose_credits_sit_in_a_linked_grant_is_not_credited(shop: Shop) -> None:
    invoice, grant = _paid_pack(shop)
    open_billing_period(
        customer=grant.customer, rate_card=shop.rate_card, period=Period(START, START + 30 * DAY),
        source_key="test", at=START,
    )  # fmt: skip
    use(shop, 400, START + DAY)
    expire_grant(grant=grant, reason_code="contract_ended", by=shop.maker, at=START + 2 * DAY)
    cancel(shop, "req-1", START + 3 * DAY)
    linked = CreditGrant.objects.get(origin=grant)

    assert linked.remaining == 400
    with pytest.raises(Conflict, match=f"grant {linked.pk}"):
        _note(shop, invoice, 9000)
    void_grant(grant=linked, reason_code="returned", by=shop.maker, at=START + 4 * DAY)
    assert _note(shop, invoice, 9000).balance_minor == 9000


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credit_note SET total_minor = 1 WHERE id = %(id)s",
        "DELETE FROM credit_note WHERE id = %(id)s",
        "TRUNCATE credit_note CASCADE",
        "UPDATE credit_note_line SET amount_minor = 1 WHERE credit_note_id = %(id)s",
        "DELETE FROM credit_note_line WHERE credit_note_id = %(id)s",
        "TRUNCATE credit_note_line",
    ],
)
def test_postgresql_keeps_notes(shop: Shop, statement: str) -> None:
    note = _note(shop, _issued(shop), 100)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, {"id": note.pk})


def _forged(shop: Shop, invoice: Invoice, line_minor: int, **changes: object) -> None:
    """Write a note past the service."""
    content: dict[str, object] = {
        "invoice": invoice, "number": "CN-000001", "sequence": 1, "reason": "goodwill",
        "currency": "USD", "total_minor": 100, "open_minor": 100, "balance_minor": 0,
        "issued_by": shop.maker, "issued_at": START, "source_key": "forged", **changes,
    }  # fmt: skip
    with transaction.atomic():
        if changes.get("sequence", 1) == 1:
            NumberSeries.objects.filter(code="CN").update(last_number=1)
        note = CreditNote.objects.create(**content)
        CreditNoteLine.objects.create(
            credit_note=note, invoice_line=invoice.lines.get(), amount_minor=line_minor
        )
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.mark.parametrize(
    ("line_minor", "changes", "message"),
    [
        (99, {}, "its lines sum to 99"),
        (100, {"balance_minor": 1}, "credit_note_settlement_sums"),
        (100, {"sequence": 2}, "takes the number that its series gave last"),
        (100, {"currency": "EUR"}, "in its own currency"),
        (5000, {"total_minor": 5000, "open_minor": 5000}, "violates check constraint"),
        (5000, {"total_minor": 5000, "balance_minor": 5000, "open_minor": 0}, "within_total"),
        (4901, {}, "invoice_line_credited_within_amount"),
    ],
)
def test_postgresql_refuses_a_note_that_does_not_fit(
    shop: Shop, line_minor: int, changes: dict[str, object], message: str
) -> None:
    invoice = _issued(shop)

    with pytest.raises(DatabaseError, match=message):
        _forged(shop, invoice, line_minor, **changes)


def test_postgresql_refuses_a_line_of_another_invoice(shop: Shop) -> None:
    invoice, other = _issued(shop), _issued(shop, "globex")
    note = _note(shop, invoice, 100)

    with pytest.raises(DatabaseError, match="its own invoice only"), transaction.atomic():
        CreditNoteLine.objects.create(
            credit_note=note, invoice_line=other.lines.get(), amount_minor=1
        )


def _with_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait between looking at what is left and writing, where a missing lock would let two in."""
    split = module._split

    def slowly(*args: object) -> object:
        result = split(*args)  # type: ignore[arg-type]
        sleep(0.1)
        return result

    monkeypatch.setattr(module, "_split", slowly)


@pytest.mark.django_db(transaction=True)
def test_of_two_notes_at_once_beyond_what_is_left_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = open_shop()
    invoice = _issued(shop)
    _with_gap(monkeypatch)

    results = at_once(
        lambda: _note(shop, invoice, 3000, "a"), lambda: _note(shop, invoice, 3000, "b")
    )

    [refusal] = refusals(results)
    assert "19.00 USD left" in refusal.message
    invoice.refresh_from_db()
    assert (invoice.credited_minor, invoice.open_minor) == (3000, 1900)


@pytest.mark.django_db(transaction=True)
def test_a_payment_and_a_note_at_once_settle_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = open_shop()
    invoice = _issued(shop)
    _with_gap(monkeypatch)

    results = at_once(lambda: _pay(shop, invoice, 4900), lambda: _note(shop, invoice, 1000, "a"))

    # Either the payment came first and the note owes 10.00 back, or the note came first and the
    # payment of 49.00 is more than the 39.00 that are left.
    invoice.refresh_from_db()
    note = CreditNote.objects.get()
    if refusals(results):
        assert (invoice.open_minor, note.open_minor, note.balance_minor) == (3900, 1000, 0)
    else:
        assert (invoice.open_minor, note.open_minor, note.balance_minor) == (0, 0, 1000)
