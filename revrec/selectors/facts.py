"""What happened and is not in the books yet: facts without their entry source.

Every query is an anti-join, so that a fact is found whenever it committed; clocks play no part in
it. A customer's own ids do, to leave out what is known to be complete (see BooksMark). Within a
customer's lock nothing new can appear.
"""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Exists, F, Min, OuterRef, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce

from billing_project.kernel.models import OutboxMessage, in_force
from credits.models import LedgerKind, LedgerTransaction, RatedUsage
from invoicing.models import (
    BalanceApplication,
    CreditNote,
    CreditNoteVoid,
    Dispute,
    DisputeOutcome,
    InvoiceLine,
    InvoiceStatus,
    InvoiceVoid,
    OutcomeDecision,
    Overpayment,
    Payment,
    ProcessorFee,
    Refund,
    RefundFailure,
    ShortPayment,
    WriteOff,
)
from revrec.models import (
    ContractAllocation,
    ContractModification,
    EntrySource,
    GrantBasis,
    ObligationKind,
    PerformanceObligation,
    RevenueSchedule,
    RevenueScheduleLine,
)
from revrec.schedule import day_of, start_of
from revrec.selectors.zone import books_zone
from revrec.sources import ROLES, SourceType

TOPICS = ("money_changed", "credits_changed")
PATIENCE = timedelta(minutes=15)  # A note that waits longer excuses nothing.


def unaccounted_lines(customer_id: int | None = None) -> QuerySet[InvoiceLine]:
    """List lines of issued invoices, in the order in which they were issued."""
    lines = InvoiceLine.objects.exclude(invoice__status=InvoiceStatus.DRAFT).filter(
        ~accounted(SourceType.INVOICE_LINE)
    )
    if customer_id is not None:
        lines = lines.filter(invoice__customer_id=customer_id)
    return lines.select_related("invoice", "billing_period").order_by(
        "invoice__finalized_at", "invoice_id", "position"
    )


def unaccounted_payments(customer_id: int | None = None) -> QuerySet[Payment]:
    """List payments, in the order in which they were made."""
    payments = Payment.objects.filter(~accounted(SourceType.PAYMENT))
    if customer_id is not None:
        payments = payments.filter(invoice__customer_id=customer_id)
    return payments.select_related("invoice").order_by("paid_at", "id")


def unaccounted_short_payments(customer_id: int | None = None) -> QuerySet[ShortPayment]:
    """List what payments fell short by and was accepted, in the order in which it was."""
    rows = ShortPayment.objects.filter(~accounted(SourceType.SHORT_PAYMENT))
    if customer_id is not None:
        rows = rows.filter(invoice__customer_id=customer_id)
    return rows.select_related("invoice").order_by("accepted_at", "id")


def unaccounted_notes(customer_id: int | None = None) -> QuerySet[CreditNote]:
    """List credit notes, in the order in which they were issued."""
    notes = CreditNote.objects.filter(~accounted(SourceType.CREDIT_NOTE))
    if customer_id is not None:
        notes = notes.filter(invoice__customer_id=customer_id)
    return notes.select_related("invoice").order_by("issued_at", "id")


def unaccounted_note_voids(customer_id: int | None = None) -> QuerySet[CreditNoteVoid]:
    """List voids of notes, in the order in which they were made."""
    voids = CreditNoteVoid.objects.filter(~accounted(SourceType.CREDIT_NOTE_VOID))
    if customer_id is not None:
        voids = voids.filter(credit_note__invoice__customer_id=customer_id)
    return voids.select_related("credit_note__invoice").order_by("voided_at", "id")


def unaccounted_voids(customer_id: int | None = None) -> QuerySet[InvoiceVoid]:
    """List voids of invoices, in the order in which they were made."""
    voids = InvoiceVoid.objects.filter(~accounted(SourceType.INVOICE_VOID))
    if customer_id is not None:
        voids = voids.filter(invoice__customer_id=customer_id)
    return voids.select_related("invoice").order_by("voided_at", "id")


def unaccounted_write_offs(customer_id: int | None = None) -> QuerySet[WriteOff]:
    """List write-offs, in the order in which they were made."""
    rows = WriteOff.objects.filter(~accounted(SourceType.WRITE_OFF))
    if customer_id is not None:
        rows = rows.filter(invoice__customer_id=customer_id)
    return rows.select_related("invoice").order_by("written_off_at", "id")


def unaccounted_recoveries(customer_id: int) -> QuerySet[Payment]:
    """List payments of what was written off, in the order in which they were recorded."""
    recoveries = unaccounted_payments(customer_id).filter(is_recovery=True)
    return recoveries.order_by("recorded_at", "id")


def unaccounted_applications(customer_id: int | None = None) -> QuerySet[BalanceApplication]:
    """List what balances paid of invoices, in the order in which they did."""
    rows = BalanceApplication.objects.filter(~accounted(SourceType.BALANCE_APPLICATION))
    if customer_id is not None:
        rows = rows.filter(invoice__customer_id=customer_id)
    return rows.select_related("invoice").order_by("applied_at", "id")


def unaccounted_refunds(customer_id: int | None = None) -> QuerySet[Refund]:
    """List refunds, in the order in which they were made."""
    refunds = Refund.objects.filter(~accounted(SourceType.REFUND))
    if customer_id is not None:
        refunds = refunds.filter(customer_id=customer_id)
    return refunds.select_related("credit_note").order_by("refunded_at", "id")


def unaccounted_failures(customer_id: int | None = None) -> QuerySet[RefundFailure]:
    """List refunds that failed, in the order in which they did."""
    failures = RefundFailure.objects.filter(~accounted(SourceType.REFUND_FAILURE))
    if customer_id is not None:
        failures = failures.filter(refund__customer_id=customer_id)
    return failures.select_related("refund__credit_note").order_by("failed_at", "id")


def unaccounted_overpayments(customer_id: int | None = None) -> QuerySet[Overpayment]:
    """List money that came beyond what was owed, in the order in which it came."""
    rows = Overpayment.objects.filter(~accounted(SourceType.OVERPAYMENT))
    if customer_id is not None:
        rows = rows.filter(customer_id=customer_id)
    return rows.select_related("invoice").order_by("paid_at", "id")


def unaccounted_fees(customer_id: int | None = None) -> QuerySet[ProcessorFee]:
    """List what providers kept, in the order in which they did."""
    rows = ProcessorFee.objects.filter(~accounted(SourceType.PROCESSOR_FEE))
    if customer_id is not None:
        rows = rows.filter(customer_id=customer_id)
    return rows.order_by("charged_at", "id")


def unaccounted_disputes(customer_id: int | None = None) -> QuerySet[Dispute]:
    """List disputes, in the order in which they were opened."""
    rows = Dispute.objects.filter(~accounted(SourceType.DISPUTE))
    if customer_id is not None:
        rows = rows.filter(customer_id=customer_id)
    return rows.select_related("invoice").order_by("opened_at", "id")


def unaccounted_verdicts(customer_id: int | None = None) -> QuerySet[DisputeOutcome]:
    """List how disputes ended, in the order in which they did."""
    rows = DisputeOutcome.objects.filter(~accounted(SourceType.DISPUTE_OUTCOME))
    if customer_id is not None:
        rows = rows.filter(dispute__customer_id=customer_id)
    return rows.select_related("dispute__invoice").order_by("decided_at", "id")


def unaccounted_grants(
    customer_id: int | None = None, after: int = 0
) -> QuerySet[LedgerTransaction]:
    """List the transactions that gave credits.

    Args:
        after: Through which transaction the customer's books are complete.
    """
    return _transactions(customer_id, after).filter(kind=LedgerKind.GRANTED)


def unaccounted_movements(
    customer_id: int | None = None, until: datetime | None = None, after: int = 0
) -> QuerySet[LedgerTransaction]:
    """List what was drawn, given back or ended, by promise in the order of the ledger.

    Args:
        after: Through which transaction the customer's books are complete.
    """
    movements = _transactions(customer_id, after).exclude(kind=LedgerKind.GRANTED)
    if until is not None:
        movements = movements.filter(effective_at__lt=until)
    return movements


class Move(NamedTuple):
    """A movement of credits, as far as it can earn anything; a month has millions."""

    pk: int
    promised_grant_id: int  # The first of linked grants: its promise is about all of them.
    kind: str
    reason_code: str
    effective_at: datetime
    credits: Decimal
    expires_at: datetime | None  # Of its own grant.
    model: str | None  # Of the usage that it paid for.


def unaccounted_moves(customer_id: int, until: datetime | None, after: int) -> list[Move]:
    """Read what `unaccounted_movements` lists of a customer, without a model's object for each."""
    movements = unaccounted_movements(customer_id, until, after).select_related(None)
    rows = movements.annotate(
        promised=Coalesce("grant__root", "grant"), model=model_of("rated_usage__window__dimensions")
    )
    names = (
        "pk",
        "promised",
        "kind",
        "reason_code",
        "effective_at",
        "credits",
        "grant__expires_at",
        "model",
    )
    return list(map(Move._make, rows.values_list(*names)))


def model_of(dimensions: str) -> KeyTextTransform:
    """Return the model that windows' dimensions name, as an expression."""
    return KeyTextTransform("model", dimensions)


def unaccounted_overage(customer_id: int | None = None, after: int = 0) -> QuerySet[RatedUsage]:
    """List rated usage that grants did not cover, by billing period and time of service.

    Args:
        after: Through which rated usage the customer's books are complete.
    """
    usage = RatedUsage.objects.exclude(overage=0).filter(~accounted(SourceType.RATED_USAGE))
    usage = usage.filter(pk__gt=after)
    if customer_id is not None:
        usage = usage.filter(customer_id=customer_id)
    return usage.order_by("billing_period_id", "service_at", "id")


def unaccounted_decisions(customer_id: int | None = None) -> QuerySet[OutcomeDecision]:
    """List decisions on outcomes, in their order."""
    decisions = OutcomeDecision.objects.filter(~accounted(SourceType.OUTCOME_DECISION))
    if customer_id is not None:
        decisions = decisions.filter(outcome__customer_id=customer_id)
    return decisions.select_related(
        "outcome__item__plan_version", "outcome__billing_period"
    ).order_by("id")


def unaccounted_bases(at: datetime, customer_id: int | None = None) -> QuerySet[GrantBasis]:
    """List approved bases of grants that have begun and are not in the books, in their order."""
    bases = GrantBasis.objects.filter(
        in_force(at, "policy_change__"), ~accounted(SourceType.GRANT_BASIS)
    )
    if customer_id is not None:
        bases = bases.filter(grant__customer_id=customer_id)
    return bases.select_related("grant", "purchase", "policy_change").order_by("id")


def unaccounted_allocations(
    at: datetime, customer_id: int | None = None
) -> QuerySet[ContractAllocation]:
    """List approved allocations that have begun and are not in the books, in their order."""
    rows = ContractAllocation.objects.filter(
        in_force(at, "policy_change__"), ~accounted(SourceType.CONTRACT_ALLOCATION)
    )
    if customer_id is not None:
        rows = rows.filter(customer=customer_id)
    return rows.select_related("policy_change").order_by("id")


def unaccounted_modifications(
    at: datetime, customer_id: int | None = None
) -> QuerySet[ContractModification]:
    """List approved changes of contracts that have begun and are not in the books, in order."""
    rows = ContractModification.objects.filter(
        in_force(at, "policy_change__"), ~accounted(SourceType.CONTRACT_MODIFICATION)
    )
    if customer_id is not None:
        rows = rows.filter(customer=customer_id)
    return rows.select_related("policy_change").order_by("policy_change__effective_at", "id")


def due_schedule_lines(before: date) -> QuerySet[RevenueScheduleLine]:
    """List service days of fees that ended before a day and are not earned yet, in order.

    Only the newest revision of a schedule plans anything, and only while the fee is not all earned.
    """
    return (
        RevenueScheduleLine.objects.filter(
            ~accounted(SourceType.SCHEDULE_LINE),
            ~Exists(
                RevenueSchedule.objects.filter(
                    obligation=OuterRef("schedule__obligation"),
                    revision__gt=OuterRef("schedule__revision"),
                )
            ),
            schedule__obligation__kind__in=[ObligationKind.FEE, ObligationKind.ARREARS],
            schedule__obligation__recognised_minor__lt=F("schedule__obligation__price_minor"),
            service_on__lt=before,
        )
        .select_related("schedule__obligation")
        .order_by("service_on", "schedule__obligation_id", "id")
    )


def customers_to_recognise(
    at: datetime, limit: int | None = None, credits_until: datetime | None = None
) -> list[int]:
    """List customers who wait: the outbox names them, or service days of theirs have ended.

    The longest-waiting come first.

    Args:
        credits_until: Passes by those of whom only newer movements of credits are noted.
    """
    zone = books_zone()
    before = day_of(at, zone)
    begun_at = start_of(before, zone)
    notes = OutboxMessage.objects.filter(topic__in=TOPICS)
    if credits_until is not None:
        notes = notes.filter(~Q(topic="credits_changed") | Q(created_at__lte=credits_until))
    noted = (
        notes.values("object_id")
        .annotate(oldest=Min("created_at"))
        .order_by("oldest", "object_id")
        .values_list("object_id", flat=True)[:limit]
    )
    due = (
        PerformanceObligation.objects.filter(
            pk__in=due_schedule_lines(before).order_by().values("schedule__obligation")
        )
        .order_by("customer_id")
        .values_list("customer_id", flat=True)
        .distinct()[:limit]
    )
    bases = unaccounted_bases(begun_at).values_list("grant__customer_id", flat=True)
    contracts = [
        rows.values_list("customer_id", flat=True)[:limit]
        for rows in (
            unaccounted_allocations(begun_at), unaccounted_modifications(begun_at)
        )
    ]  # fmt: skip
    found = [*noted, *due, *bases[:limit], *contracts[0], *contracts[1]]
    return list(dict.fromkeys(found))[:limit]


def accounted(source_type: SourceType, pk: str = "pk") -> Exists:
    """Tell whether a row has its entry source."""
    return Exists(
        EntrySource.objects.filter(
            source_type=source_type.value, source_id=OuterRef(pk), role=ROLES[source_type]
        )
    )


def posted(source_type: SourceType, pk: str = "pk") -> Exists:
    """Tell whether an entry accounts for a row: it was not only looked at."""
    return Exists(
        EntrySource.objects.filter(
            source_type=source_type.value, source_id=OuterRef(pk), role=ROLES[source_type],
            entry__isnull=False,
        )
    )  # fmt: skip


def waiting_customers(at: datetime | None = None) -> QuerySet[OutboxMessage, int]:
    """Return the ids of customers whose facts wait in the outbox to be taken up.

    Args:
        at: Leaves out who waits for longer than PATIENCE until this instant: their notes are stuck.
    """
    notes = OutboxMessage.objects.filter(topic__in=TOPICS).order_by().values("object_id")
    waiting = notes.annotate(oldest=Min("created_at"))
    if at is not None:
        waiting = waiting.filter(oldest__gte=at - PATIENCE)
    return waiting.values_list("object_id", flat=True)


def _transactions(customer_id: int | None, after: int) -> QuerySet[LedgerTransaction]:
    transactions = LedgerTransaction.objects.filter(
        ~accounted(SourceType.LEDGER_TRANSACTION), pk__gt=after
    )
    if customer_id is not None:
        transactions = transactions.filter(customer_id=customer_id)
    promised = Coalesce("grant__root", "grant")
    return transactions.select_related("grant").order_by(promised, "id")
