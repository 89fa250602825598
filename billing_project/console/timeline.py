"""What happened between a customer and us: plans, claims, and all that a claim was settled by."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from django.db.models import Model

from billing_project.kernel.backoffice.display import money_text, object_url
from invoicing.models import (
    BalanceApplication,
    CreditNote,
    Dispute,
    Invoice,
    Payment,
    Refund,
    Subscription,
    SubscriptionChange,
)
from invoicing.models.provider import Verdict
from metering.models import Customer

MOST = 20


@dataclass(frozen=True)
class Happening:
    """One line of the timeline."""

    at: datetime
    what: str
    says: str
    amount: str
    url: str
    is_ahead: bool  # Agreed, and not yet so.


def timeline_of(customer: Customer, at: datetime) -> list[Happening]:
    """Return the newest of what happened to a customer and what is agreed; one query a source."""
    every = chain(
        _plans(customer, at), _changes(customer, at), _invoices(customer, at),
        _notes(customer, at), _payments(customer, at), _refunds(customer, at),
        _applied(customer, at), _disputes(customer, at),
    )  # fmt: skip
    # Of one instant the plan comes before its invoice, and the invoice before its payment.
    return sorted(every, key=lambda one: one.at)[::-1][:MOST]


def _line(
    row: Model, when: datetime, at: datetime, what: str, says: str, amount: str = ""
) -> Happening:
    return Happening(when, what, says, amount, object_url(row), when > at)


def _plans(customer: Customer, at: datetime) -> Iterator[Happening]:
    rows = Subscription.objects.filter(customer=customer).select_related("plan_version__plan")
    for row in rows.order_by("-start_at")[:MOST]:
        yield _line(row, row.start_at, at, "Plan begins", str(row.plan_version))
        if row.ends_at is not None:
            yield _line(row, row.ends_at, at, "Plan ends", str(row.plan_version))


def _changes(customer: Customer, at: datetime) -> Iterator[Happening]:
    rows = SubscriptionChange.objects.filter(subscription__customer=customer, undone_at=None)
    for row in rows.select_related("plan_version__plan").order_by("-effective_at")[:MOST]:
        says = f"{row.plan_version}: {row.reason}" if row.plan_version else row.reason
        yield _line(row, row.effective_at, at, f"Change: {row.get_kind_display()}", says)


def _invoices(customer: Customer, at: datetime) -> Iterator[Happening]:
    rows = Invoice.objects.filter(customer=customer).exclude(finalized_at=None)
    for row in rows.order_by("-finalized_at")[:MOST]:
        assert row.finalized_at is not None
        total = money_text(row.total_minor, row.currency)
        owed = f", {money_text(row.open_minor, row.currency)} open" if row.open_minor else ""
        says = f"{row.number}, {row.get_status_display().lower()}{owed}"
        yield _line(row, row.finalized_at, at, "Invoice", says, total)


def _notes(customer: Customer, at: datetime) -> Iterator[Happening]:
    rows = CreditNote.objects.filter(invoice__customer=customer).select_related("invoice", "void")
    for row in rows.order_by("-issued_at")[:MOST]:
        says = f"{row.number} on {row.invoice.number}"
        yield _line(row, row.issued_at, at, "Credit note", says, _less(row.total_minor, row))
        if hasattr(row, "void"):
            total = money_text(row.total_minor, row.currency)
            says = f"{row.number}: {row.void.reason}"
            yield _line(row.void, row.void.voided_at, at, "Credit note voided", says, total)


def _payments(customer: Customer, at: datetime) -> Iterator[Happening]:
    rows = Payment.objects.filter(invoice__customer=customer).select_related("invoice")
    for row in rows.order_by("-paid_at")[:MOST]:
        says = f"{row.reference} for {row.invoice.number}"
        yield _line(row, row.paid_at, at, "Payment", says, _less(row.amount_minor, row))


def _refunds(customer: Customer, at: datetime) -> Iterator[Happening]:
    rows = Refund.objects.filter(customer=customer).select_related("failure")
    for row in rows.order_by("-refunded_at")[:MOST]:
        amount = money_text(row.amount_minor, row.currency)
        yield _line(row, row.refunded_at, at, "Refund", row.reference, amount)
        if hasattr(row, "failure"):
            says = f"{row.reference}: {row.failure.reason}; it went to the balance"
            came = _less(row.amount_minor, row)
            yield _line(row.failure, row.failure.failed_at, at, "Refund failed", says, came)


def _applied(customer: Customer, at: datetime) -> Iterator[Happening]:
    rows = BalanceApplication.objects.filter(invoice__customer=customer).select_related("invoice")
    for row in rows.order_by("-applied_at")[:MOST]:
        says = f"for {row.invoice.number}"
        yield _line(row, row.applied_at, at, "Balance applied", says, _less(row.amount_minor, row))


def _disputes(customer: Customer, at: datetime) -> Iterator[Happening]:
    rows = Dispute.objects.filter(customer=customer).select_related("invoice", "outcome")
    for row in rows.order_by("-opened_at")[:MOST]:
        amount = money_text(row.amount_minor, row.currency)
        says = f"{row.invoice.number}: {row.reason}"
        yield _line(row, row.opened_at, at, "Dispute", says, amount)
        if hasattr(row, "outcome"):
            end, verdict = row.outcome, row.outcome.verdict
            came = _less(row.amount_minor, row) if verdict == Verdict.WON else ""
            yield _line(end, end.decided_at, at, f"Dispute {verdict}", str(row.invoice), came)


def _less(
    amount_minor: int, row: BalanceApplication | CreditNote | Dispute | Payment | Refund
) -> str:
    """Write what makes the customer owe less."""
    return money_text(-amount_minor, row.currency)
