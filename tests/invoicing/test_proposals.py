"""What was claimed too much is proposed as a credit note, decided by a person, issued once."""

from datetime import datetime
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from billing_project.kernel.approvals import approve, is_as_proposed, reject
from billing_project.kernel.books import run_checks
from billing_project.kernel.models import PolicyChange, PolicyStatus
from invoicing.models import CreditNote, Invoice, ProposedCreditNote
from invoicing.models.proposal import ProposalState
from invoicing.selectors import overcharged_periods
from invoicing.services.backfills import submit_backfill
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.deciding import settle_proposals
from invoicing.services.disputes import record_dispute, record_dispute_outcome
from invoicing.services.endings import write_off_invoice
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.proposals import follow_overcharges
from metering.events import EventInput
from metering.models import Customer
from metering.services.adjust import amend_event
from metering.services.backfilling import apply_backfill
from metering.services.backfills import Line, add_backfill_lines, start_backfill
from revrec.services.recognise import recognise_customer
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    at_once,
    cancel,
    overage_invoices,
    paid,
    rate,
    subscribed,
    use,
)
from tests.metering.late import a_late_policy

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
    _bill(shop, END)
    [invoice] = overage_invoices(subscription)
    return invoice


def _bill(shop: Shop, at: datetime) -> None:
    draft_overage_invoices(by=shop.worker, at=at)
    finalize_due(by=shop.worker, at=at + DAY)


def _work(shop: Shop, at: datetime = LATE) -> int:
    return settle_proposals(by=shop.worker, at=at) + follow_overcharges(by=shop.worker, at=at)


def _open() -> list[tuple[str, int]]:
    rows = ProposedCreditNote.objects.filter(state=ProposalState.OPEN)
    return list(rows.order_by("id").values_list("cause", "amount_minor"))


def _approve(shop: Shop) -> None:
    for change in PolicyChange.objects.filter(kind="credit_note", status="submitted"):
        approve(change=change, by=shop.approver, reason="we owe it", at=LATE)


def _findings(shop: Shop) -> list[object]:
    recognise_customer(customer_id=Customer.objects.get().pk, by=shop.worker, at=LATE + 9 * DAY)
    known = {"kernel.commits_are_durable"}
    return [f for result in run_checks() for f in result.findings if result.name not in known]


def test_what_a_bank_took_back_is_not_proposed_until_the_dispute_is_won(
    shop: Shop, invoice: Invoice
) -> None:
    paid(shop, invoice)
    dispute = record_dispute(
        invoice=invoice, amount_minor=1_500, reason="general", method="card", reference="d1",
        opened_at=LATE, by=shop.worker, at=LATE,
    )  # fmt: skip
    cancel(shop, "req-2", LATE)

    assert [_work(shop), _open()] == [1, [("overcharge", 500)]]
    _approve(shop)
    assert [_work(shop), _work(shop), _open()] == [1, 0, []]
    record_dispute_outcome(dispute=dispute, verdict="won", decided_at=LATE, by=shop.worker, at=LATE)

    assert [_work(shop), _open()] == [1, [("overcharge", 500)]]


def test_a_cancelled_request_becomes_one_proposal_and_one_note(
    shop: Shop, invoice: Invoice
) -> None:
    cancel(shop, "req-2", LATE)

    assert _work(shop) == 1
    assert _work(shop) == 0  # Twice is once.
    row = ProposedCreditNote.objects.get()
    change = row.policy_change
    assert change.title == f"Credit 10.00 USD of {invoice.number} to Acme"
    assert change.product_requirement == ("Usage was corrected after its invoice: cancel req-2.")
    assert (change.proposed_by, row.amount_minor) == (shop.worker, 1000)
    assert is_as_proposed(change)
    assert _findings(shop) == []
    assert CreditNote.objects.count() == 0

    _approve(shop)
    assert _work(shop) == 1
    assert _work(shop) == 0
    note = CreditNote.objects.get()
    assert (note.total_minor, note.lines.get().evened_minor) == (1000, 1000)
    assert "Approved by ann.shop: we owe it" in note.memo
    row.refresh_from_db()
    assert (row.state, row.credit_note) == ("issued", note)
    assert overcharged_periods() == []
    assert _findings(shop) == []


def test_an_overcharge_that_was_given_up_in_part_is_proposed_and_goes_back(
    shop: Shop, invoice: Invoice
) -> None:
    paid(shop, invoice, 600)
    write_off_invoice(invoice=invoice, reason="gone", by=shop.approver, at=LATE)
    cancel(shop, "req-1", LATE)
    cancel(shop, "req-2", LATE)

    _work(shop)
    _approve(shop)
    _work(shop)

    note = CreditNote.objects.get()
    assert (note.open_minor, note.balance_minor) == (1400, 600)
    invoice.refresh_from_db()
    assert (invoice.status, invoice.written_off_minor) == ("paid", 0)
    assert _findings(shop) == []


def test_a_proposal_follows_the_overcharge(shop: Shop, invoice: Invoice) -> None:
    cancel(shop, "req-2", LATE)
    _work(shop)
    amend_event(
        customer=Customer.objects.get(), identifier="req-1", reason="half of it failed",
        properties={"model": "small", "output_tokens": "400"}, by=shop.maker, at=LATE,
    )  # fmt: skip
    rate(shop, "acme", LATE)

    _work(shop)

    assert _open() == [("overcharge", 1600)]
    first, second = ProposedCreditNote.objects.order_by("id")
    assert (first.state, first.policy_change.status) == ("closed", PolicyStatus.WITHDRAWN)
    assert second.facts["adjustments"] == ["amend req-1", "cancel req-2"]
    assert _findings(shop) == []


def test_a_proposal_is_withdrawn_when_the_overcharge_vanishes(shop: Shop, invoice: Invoice) -> None:
    cancel(shop, "req-2", LATE)
    _work(shop)
    use(shop, 1000, START + DAY, "late", known_at=LATE)

    assert _work(shop) == 1
    assert _open() == []
    assert _work(shop) == 0


def test_an_approval_is_void_once_a_note_was_made_by_hand(shop: Shop, invoice: Invoice) -> None:
    cancel(shop, "req-2", LATE)
    _work(shop)
    _approve(shop)
    issue_credit_note(
        invoice=invoice, lines=[(invoice.lines.get(position=1), 1000)], reason="billing_error",
        memo="", key="by hand", by=shop.worker, at=LATE,
    )  # fmt: skip

    assert _work(shop) == 1

    assert ProposedCreditNote.objects.get().state == "closed"
    assert CreditNote.objects.count() == 1


def test_a_refused_amount_is_not_proposed_again(shop: Shop, invoice: Invoice) -> None:
    cancel(shop, "req-2", LATE)
    _work(shop)
    change = PolicyChange.objects.get(kind="credit_note")
    reject(change=change, by=shop.approver, reason="they agreed to pay", at=LATE)

    assert _work(shop) == 1  # Closed.
    assert _work(shop) == 0
    cancel(shop, "req-1", LATE)
    _work(shop)
    assert _open() == [("overcharge", 2000)]


def test_an_overcharge_goes_off_the_newest_line_first(shop: Shop, invoice: Invoice) -> None:
    use(shop, 300, START + DAY, "late", known_at=LATE)
    _bill(shop, LATE)
    cancel(shop, "req-2", LATE + 3 * DAY)

    _work(shop, LATE + 3 * DAY)

    assert sorted(_open()) == [("overcharge", 300), ("overcharge", 700)]
    _approve(shop)
    _work(shop, LATE + 3 * DAY)
    assert sum(CreditNote.objects.values_list("total_minor", flat=True)) == 1000
    assert _open() == []
    assert _findings(shop) == []


def test_a_rule_for_late_events_asks_whether_to_bear_a_late_line(
    shop: Shop, invoice: Invoice
) -> None:
    a_late_policy("credit_note", START)
    use(shop, 300, START + DAY, "late", known_at=LATE)
    _bill(shop, LATE)

    assert _open() == [("late_usage", 300)]
    _approve(shop)
    _work(shop, LATE + 2 * DAY)
    note = CreditNote.objects.get()
    assert (note.total_minor, note.reason) == (300, "goodwill")
    assert note.lines.get().evened_minor == 0
    assert _findings(shop) == []


def test_only_the_late_usage_of_a_late_line_is_asked_about(shop: Shop, invoice: Invoice) -> None:
    """20.00 are claimed; then 3.00 come late, and 5.00 by a backfill, which was approved."""
    a_late_policy("credit_note", START)
    acme = Customer.objects.get()
    use(shop, 300, START + DAY, "late", known_at=LATE)  # 3.00 late ...
    backfill = start_backfill(
        customer=acme, start_at=START + 3 * DAY, end_at=START + 4 * DAY,
        reason="the collector lost some", by=shop.maker, at=LATE,
    )  # fmt: skip
    lost = EventInput(
        event_name="llm_request", identifier="lost", customer="acme", timestamp=START + 3 * DAY,
        properties={"model": "small", "output_tokens": "500"},
    )  # fmt: skip
    add_backfill_lines(backfill=backfill, lines=[Line(1, lost)], by=shop.maker, at=LATE)
    change = submit_backfill(backfill=backfill, by=shop.maker, at=LATE).policy_change
    approve(change=change, by=shop.approver, reason="measured", at=LATE)
    apply_backfill(backfill=backfill, by=shop.maker, at=LATE)
    rate(shop, "acme", LATE)  # ... and 5.00 by the backfill: 8.00 on the further invoice.

    _bill(shop, LATE)

    line = Invoice.objects.latest("id").lines.get(kind="overage")
    assert (line.quantity, line.amount_minor) == (Decimal(800), 800)
    assert _open() == [("late_usage", 300)]
    assert ProposedCreditNote.objects.get().facts["credits_late"] == "300"
    assert _findings(shop) == []


def test_what_is_claimed_again_is_not_asked_about(shop: Shop, invoice: Invoice) -> None:
    """20.00 claimed; 10.00 cancelled, credited, and reported again with 3.00 of late usage."""
    a_late_policy("credit_note", START)
    issue_credit_note(
        invoice=invoice, lines=[(invoice.lines.get(position=1), 500)], reason="billing_error",
        memo="", key="by hand", by=shop.worker, at=LATE,
    )  # fmt: skip
    cancel(shop, "req-2", LATE)  # 10.00 too much: 5.00 of it were conceded already.
    _work(shop)
    _approve(shop)
    _work(shop)
    backfill = start_backfill(
        customer=Customer.objects.get(), start_at=START + 2 * DAY, end_at=START + 3 * DAY,
        reason="it did happen", by=shop.maker, at=LATE,
    )  # fmt: skip
    again = EventInput(
        event_name="llm_request", identifier="req-2", customer="acme", timestamp=START + 2 * DAY,
        properties={"model": "small", "output_tokens": "1000"},
    )  # fmt: skip
    add_backfill_lines(backfill=backfill, lines=[Line(1, again)], by=shop.maker, at=LATE)
    change = submit_backfill(backfill=backfill, by=shop.maker, at=LATE).policy_change
    approve(change=change, by=shop.approver, reason="measured", at=LATE)
    apply_backfill(backfill=backfill, by=shop.maker, at=LATE)
    rate(shop, "acme", LATE)
    use(shop, 300, START + DAY, "late", known_at=LATE)

    _bill(shop, LATE)

    line = Invoice.objects.latest("id").lines.get(kind="overage")
    assert line.amount_minor > 300
    assert _open() == [("late_usage", 300)]
    assert _findings(shop) == []


def test_the_first_invoice_of_a_period_is_not_late(shop: Shop) -> None:
    a_late_policy("credit_note", START)
    subscribed(shop, overage_price=Decimal("0.01"), included_credits=Decimal(0))
    use(shop, 1000, START + DAY, "req-1")
    _bill(shop, END)

    assert _open() == []


def test_the_database_keeps_one_open_proposal_of_a_line(shop: Shop, invoice: Invoice) -> None:
    cancel(shop, "req-2", LATE)
    _work(shop)
    row = ProposedCreditNote.objects.get()
    other = PolicyChange.objects.get(pk=row.policy_change_id)  # Undecided, and of the same kind.
    other.pk, other.subject = None, "credit_note:forged:2"
    other.save(force_insert=True)
    row.pk, row.number, row.policy_change = None, 2, other

    with pytest.raises(IntegrityError, match="one_open"), transaction.atomic():
        row.save(force_insert=True)


@pytest.mark.django_db(transaction=True)
def test_two_workers_propose_and_issue_once(shop: Shop, invoice: Invoice) -> None:
    cancel(shop, "req-2", LATE)

    at_once(*[lambda: follow_overcharges(by=shop.worker, at=LATE)] * 4)
    assert _open() == [("overcharge", 1000)]
    _approve(shop)
    at_once(*[lambda: settle_proposals(by=shop.worker, at=LATE)] * 4)

    assert CreditNote.objects.count() == 1
