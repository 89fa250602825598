"""Outcomes through the services: decided on by facts, billed once, and only while accepted."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import (
    Conflict,
    IdempotencyConflict,
    Invalid,
    NotAllowed,
    NotFound,
)
from billing_project.kernel.models import User
from invoicing import item_checks
from invoicing.items import Item
from invoicing.models import (
    InvoiceLine,
    LineKind,
    LineOutcome,
    Outcome,
    OutcomeDecision,
    Subscription,
)
from invoicing.selectors import preview
from invoicing.services.closing import close_quiet_periods
from invoicing.services.endings import void_and_regenerate
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.outcomes import decide_outcome, record_outcome
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    cancel,
    check_what_is_deferred,
    first_period,
    overage_invoices,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db

RESOLVED = Item("outcome", "resolved", "Resolved ticket", 99)
COMMIT = Item("commit", "minimum", "Minimum", 500, kinds=("overage", "outcome"))
GRACE = timedelta(hours=24)


@pytest.fixture
def sold(shop: Shop) -> Subscription:
    """Sell resolved tickets at USD 0.99."""
    return subscribed(shop, items=(RESOLVED,))


def _record(shop: Shop, sold: Subscription, name: str, at: datetime = START + DAY) -> Outcome:
    return record_outcome(
        customer=sold.customer, code="resolved", identifier=name, occurred_at=at, note="",
        by=shop.worker, at=at,
    )  # fmt: skip


def _decide(shop: Shop, outcome: Outcome, state: str, at: datetime = START + DAY) -> None:
    decide_outcome(outcome=outcome, state=state, reason="checked", by=shop.worker, at=at)
    outcome.refresh_from_db()


def _invoice(shop: Shop, at: datetime = END) -> None:
    draft_overage_invoices(by=shop.worker, at=at)
    finalize_due(by=shop.worker, at=at + GRACE)
    close_quiet_periods(at=at + GRACE)


def test_an_outcome_accepted_after_its_draft_lost_all_else_is_billed(
    shop: Shop, sold: Subscription, settings: Any
) -> None:
    use(shop, 300, START + DAY)
    outcome = _record(shop, sold, "ticket-1")
    draft_overage_invoices(by=shop.worker, at=END)
    cancel(shop, "req-1", END + timedelta(hours=1))
    finalize_due(by=shop.worker, at=END + GRACE)
    close_quiet_periods(at=END + GRACE)

    late = END + 2 * DAY
    decide_outcome(outcome=outcome, state="accepted", reason="yes", by=shop.worker, at=late)
    settings.BILLING_CLOCK = (late + DAY).isoformat()
    [finding] = item_checks.emptied_drafts_hold_nothing_up()
    assert "1 accepted outcome" in finding.message
    draft_overage_invoices(by=shop.worker, at=late)
    finalize_due(by=shop.worker, at=late + GRACE)

    [invoice] = overage_invoices(sold)
    assert (invoice.status, invoice.total_minor) == ("finalized", 99)
    assert list(item_checks.emptied_drafts_hold_nothing_up()) == []


def test_only_accepted_outcomes_are_billed(shop: Shop, sold: Subscription) -> None:
    for name, state in (("t1", "accepted"), ("t2", "accepted"), ("t3", "rejected"),
                        ("t4", "disputed"), ("t5", "")):  # fmt: skip
        outcome = _record(shop, sold, name)
        if state:
            _decide(shop, outcome, state)

    _invoice(shop)
    _invoice(shop)

    (invoice,) = overage_invoices(sold)
    line = invoice.lines.get()
    assert (line.kind, line.quantity, line.amount_minor) == ("outcome", Decimal(2), 198)
    assert line.description == "Resolved ticket"
    assert LineOutcome.objects.filter(line=line).count() == 2
    check_what_is_deferred()


def test_a_dispute_during_the_grace_takes_the_outcome_off_the_draft(
    shop: Shop, sold: Subscription
) -> None:
    first, second = _record(shop, sold, "t1"), _record(shop, sold, "t2")
    _decide(shop, first, "accepted")
    _decide(shop, second, "accepted")
    draft_overage_invoices(by=shop.worker, at=END)

    _decide(shop, second, "disputed", END)
    finalize_due(by=shop.worker, at=END + GRACE)

    assert InvoiceLine.objects.get(kind=LineKind.OUTCOME).amount_minor == 99


def test_what_is_accepted_after_its_period_goes_to_a_further_invoice(
    shop: Shop, sold: Subscription
) -> None:
    outcome = _record(shop, sold, "t1")
    _invoice(shop)
    assert overage_invoices(sold) == []

    _decide(shop, outcome, "accepted", END + 3 * DAY)
    _invoice(shop, END + 3 * DAY)

    (invoice,) = overage_invoices(sold)
    assert invoice.total_minor == 99
    assert (invoice.service_start_at, invoice.service_end_at) == (START, END)


def test_an_invoiced_outcome_is_decided_on_no_more(shop: Shop, sold: Subscription) -> None:
    outcome = _record(shop, sold, "t1")
    _decide(shop, outcome, "accepted")
    _invoice(shop)

    with pytest.raises(Conflict, match=r"is on INV-.* line 1: a credit note takes it back"):
        _decide(shop, outcome, "disputed", END + 2 * DAY)
    with pytest.raises(DatabaseError, match="only a credit note"), transaction.atomic():
        OutcomeDecision.objects.create(
            outcome=outcome, sequence=2, state_before="accepted", state="disputed", reason="no",
            decided_by=shop.maker, decided_at=END,
        )  # fmt: skip


def test_outcomes_count_toward_a_commit_and_stand_in_the_preview(shop: Shop) -> None:
    sold = subscribed(shop, items=(RESOLVED, COMMIT))
    _decide(shop, _record(shop, sold, "t1"), "accepted")

    seen = preview(first_period(sold))

    claims = [(line.kind, line.amount_minor) for line in seen.lines]
    assert claims == [("outcome", 99), ("commit_shortfall", 401)]


def test_the_same_report_and_the_same_decision_again_change_nothing(
    shop: Shop, sold: Subscription
) -> None:
    outcome = _record(shop, sold, "t1")
    assert _record(shop, sold, "t1") == outcome
    _decide(shop, outcome, "accepted")
    _decide(shop, outcome, "accepted")

    assert outcome.decisions.count() == 1
    with pytest.raises(IdempotencyConflict):
        _record(shop, sold, "t1", START + 2 * DAY)


def test_what_is_not_sold_or_out_of_bounds_is_refused(shop: Shop, sold: Subscription) -> None:
    def record(code: str = "resolved", name: str = "t1", at: datetime = START) -> None:
        record_outcome(
            customer=sold.customer, code=code, identifier=name, occurred_at=at, note="",
            by=shop.worker, at=START + DAY,
        )  # fmt: skip

    with pytest.raises(Conflict, match="sells no outcome sold-out"):
        record(code="sold-out")
    with pytest.raises(Invalid, match="identifier"):
        record(name="")
    with pytest.raises(Invalid, match="within the 400 days"):
        record(at=START + 2 * DAY)
    with pytest.raises(NotFound, match="no subscription at"):
        record(at=START - DAY)


def test_a_decision_needs_permission_reason_and_a_state(
    shop: Shop, sold: Subscription, auditor: User
) -> None:
    outcome = _record(shop, sold, "t1")

    with pytest.raises(NotAllowed):
        decide_outcome(outcome=outcome, state="accepted", reason="x", by=auditor, at=START)
    with pytest.raises(Invalid, match="reason"):
        decide_outcome(outcome=outcome, state="accepted", reason=" ", by=shop.worker, at=START)
    with pytest.raises(Invalid, match="accepted, rejected or disputed"):
        decide_outcome(outcome=outcome, state="pending", reason="x", by=shop.worker, at=START)
    _decide(shop, outcome, "rejected")
    with pytest.raises(Conflict, match="can become nothing any more"):
        _decide(shop, outcome, "accepted")


def test_the_database_keeps_outcomes_and_their_decisions(shop: Shop, sold: Subscription) -> None:
    outcome = _record(shop, sold, "t1")
    _decide(shop, outcome, "accepted")
    _invoice(shop)

    for statement in (
        "UPDATE outcome SET state = 'rejected'",
        "UPDATE outcome SET note = 'other'",
        "DELETE FROM outcome",
        "UPDATE outcome_decision SET reason = 'other'",
        "DELETE FROM outcome_decision",
        "DELETE FROM line_outcome",
        "UPDATE line_outcome SET line_id = line_id",
        "TRUNCATE outcome CASCADE",
    ):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_outcomes_of_a_void_invoice_are_billed_again_once(shop: Shop, sold: Subscription) -> None:
    outcome = _record(shop, sold, "t1")
    _decide(shop, outcome, "accepted")
    _invoice(shop)
    (invoice,) = overage_invoices(sold)

    draft = void_and_regenerate(
        invoice=invoice, reason="wrong address", by=shop.worker, at=END + 2 * DAY
    )
    finalize_due(by=shop.worker, at=END + 4 * DAY)

    draft.refresh_from_db()
    assert (draft.total_minor, draft.status) == (99, "finalized")
    links = LineOutcome.objects.filter(outcome=outcome).order_by("id")
    assert [link.is_void for link in links] == [True, False]
