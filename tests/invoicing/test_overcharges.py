"""Overage cancelled after its invoice: found, credited once, and claimed again with later usage."""

from datetime import datetime
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction
from django.db.models import Sum

from credits.models import RatedUsage
from invoicing import checks
from invoicing.models import CreditNote, CreditNoteLine, Invoice
from invoicing.selectors import overage_state, overcharged_periods, periods_to_invoice
from invoicing.services.credit_notes import issue_credit_note, preview_credit_note
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.locks import CREDIT_NOTE_SERIES, take_number
from metering.services.adjust import cancel_event
from metering.services.aggregate import aggregate_batches
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    cancel,
    first_period,
    overage_invoices,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db

LATE = END + 3 * DAY


@pytest.fixture
def invoice(shop: Shop) -> Invoice:
    """Return an invoice over 2,000 credits at 0.01, used by two requests."""
    subscription = subscribed(
        shop, overage_price=Decimal("0.01"), included_credits=Decimal(0), fee_minor=0
    )
    use(shop, 1000, START + DAY, "req-1")
    use(shop, 1000, START + 2 * DAY, "req-2")
    _bill(shop, END + DAY)
    [invoice] = overage_invoices(subscription)
    assert invoice.total_minor == 2000
    return invoice


def _bill(shop: Shop, at: datetime) -> None:
    draft_overage_invoices(by=shop.worker, at=at)
    finalize_due(by=shop.worker, at=at + DAY)


def _note(shop: Shop, invoice: Invoice, minor: int, key: str = "n") -> CreditNoteLine:
    note: CreditNote = issue_credit_note(
        invoice=invoice, lines=[(invoice.lines.get(position=1), minor)], reason="billing_error",
        memo="", key=key, by=shop.worker, at=LATE,
    )  # fmt: skip
    return note.lines.get()


def _charged() -> int:
    sums = Invoice.objects.aggregate(total=Sum("total_minor"), credited=Sum("credited_minor"))
    return int(sums["total"] - sums["credited"])


def _findings() -> list[object]:
    found = [checks.overage_is_invoiced_or_unbilled, checks.lines_are_usage]
    return [finding for check in found for finding in check()]


def test_a_note_takes_back_an_overcharge_and_later_usage_is_claimed(
    shop: Shop, invoice: Invoice
) -> None:
    cancel(shop, "req-2", LATE)
    [state] = overcharged_periods()
    assert state.overcharged_minor == 1000

    line = _note(shop, invoice, 1000)
    assert (line.evened_minor, line.evened_credits) == (1000, Decimal(1000))
    assert overcharged_periods() == []
    use(shop, 1000, START + DAY, "late", known_at=LATE)
    _bill(shop, LATE)

    # 20.00 - 10.00 + 10.00: 2,000 credits were used in the end.
    assert _charged() == 2000
    [second] = Invoice.objects.exclude(pk=invoice.pk)
    claimed = second.lines.get(kind="overage")
    assert (claimed.quantity, claimed.amount_minor) == (Decimal(1000), 1000)
    assert claimed.description == (
        "Credits used beyond those granted, added after the period was invoiced;"
        " 1000 of them credited before"
    )
    assert _findings() == []


def test_a_note_beyond_the_overcharge_concedes_the_rest(shop: Shop, invoice: Invoice) -> None:
    cancel(shop, "req-2", LATE)

    line = _note(shop, invoice, 1300)

    assert (line.amount_minor, line.evened_minor) == (1300, 1000)
    use(shop, 500, START + DAY, "late", known_at=LATE)
    _bill(shop, LATE)
    assert _charged() == 1500 - 300  # What was conceded stays conceded.
    assert _findings() == []


def test_notes_take_back_an_overcharge_bit_by_bit(shop: Shop, invoice: Invoice) -> None:
    cancel(shop, "req-2", LATE)

    evened = [_note(shop, invoice, 600, key).evened_minor for key in "abc"]

    assert evened == [600, 400, 0]
    assert _charged() == 200  # 20.00 - 18.00; 10.00 of use less 8.00 conceded.
    assert overcharged_periods() == []
    assert _findings() == []


def test_a_concession_before_the_cancellation_is_not_owed_twice(
    shop: Shop, invoice: Invoice
) -> None:
    assert _note(shop, invoice, 300, "a").evened_minor == 0
    cancel(shop, "req-1", LATE)
    cancel(shop, "req-2", LATE)

    [state] = overcharged_periods()
    assert state.overcharged_minor == 1700  # All that is still claimed.
    assert _note(shop, invoice, 1700, "b").evened_minor == 1700
    assert (_charged(), overcharged_periods()) == (0, [])
    use(shop, 200, START + DAY, "late-1", known_at=LATE)
    assert not periods_to_invoice(LATE).exists()  # 2.00 of the 3.00 conceded.
    use(shop, 300, START + DAY, "late-2", known_at=LATE)
    _bill(shop, LATE)
    assert _charged() == 200  # 5.00 of use less 3.00.
    assert _findings() == []


def test_several_invoices_of_a_period_share_its_overcharge(shop: Shop, invoice: Invoice) -> None:
    use(shop, 500, START + DAY, "late", known_at=LATE)
    _bill(shop, LATE)
    cancel(shop, "req-1", LATE)
    [second] = Invoice.objects.exclude(pk=invoice.pk)

    evened = [_note(shop, second, 500, "a"), _note(shop, invoice, 600, "b")]

    assert [line.evened_minor for line in evened] == [500, 500]  # 25.00 claimed, 15.00 used.
    assert _charged() == 1400
    assert _findings() == []


def test_corrections_that_wait_for_rating_count(shop: Shop, invoice: Invoice) -> None:
    customer = invoice.customer
    cancel_event(customer=customer, identifier="req-2", reason="x", by=shop.maker, at=LATE)
    aggregate_batches(at=LATE)
    assert not RatedUsage.objects.filter(overage__lt=0).exists()

    assert _note(shop, invoice, 1000).evened_minor == 1000


def test_a_preview_of_a_note_tells_what_takes_back_an_overcharge(
    shop: Shop, invoice: Invoice
) -> None:
    cancel(shop, "req-2", LATE)

    lines = [(invoice.lines.get(position=1), 1300)]
    seen = preview_credit_note(invoice=invoice, lines=lines, at=LATE)

    assert seen.evened_minor == 1000


def test_a_period_with_nothing_to_claim_is_not_looked_at_again(
    shop: Shop, invoice: Invoice
) -> None:
    cancel(shop, "req-2", LATE)
    state = overage_state(first_period(invoice.subscription))  # type: ignore[arg-type]

    assert state.unbilled == -1000
    assert not periods_to_invoice(LATE).exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evened_minor": 101, "evened_credits": 1}, "evened_within_amount"),
        ({"evened_minor": 1}, "evened_credits"),
        ({"evened_minor": 1, "evened_credits": Decimal(10) ** 24}, "evened_credits"),
        ({"evened_credits": 1}, "evened_credits"),
        ({"evened_minor": 1, "evened_credits": 1}, "evens out overage only"),
    ],
)
def test_postgresql_refuses_evening_out_what_is_no_overcharge(
    shop: Shop, changes: dict[str, object], message: str
) -> None:
    subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    fee = Invoice.objects.get()
    note = issue_credit_note(
        invoice=fee, lines=[(fee.lines.get(), 100)], reason="goodwill", memo="", key="n",
        by=shop.worker, at=LATE,
    )  # fmt: skip

    with pytest.raises(DatabaseError, match=message), transaction.atomic():
        _forge_second(note, changes)


def _forge_second(first: CreditNote, changes: dict[str, object]) -> None:
    """Write a second note on the same line past the service."""
    sequence, number = take_number(CREDIT_NOTE_SERIES, first.entity_id)
    second = CreditNote.objects.create(
        invoice=first.invoice, number=number, sequence=sequence, reason="goodwill",
        currency="USD", total_minor=100, open_minor=100, balance_minor=0,
        issued_by=first.issued_by, issued_at=LATE, source_key="forged",
    )  # fmt: skip
    CreditNoteLine.objects.create(
        credit_note=second, invoice_line=first.invoice.lines.get(), amount_minor=100, **changes
    )
