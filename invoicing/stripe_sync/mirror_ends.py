"""Tell Stripe how grants and invoices ended that it was told of: one step after the other.

A copy stays a draft while its invoice is owed, for a second claim would be one too many. What ended
here is finalized there, credited by its notes, and paid out of band, voided or written off.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from credits.models import LedgerKind, LedgerTransaction
from invoicing.models import CallKind, CallState, CreditNote, Invoice, InvoiceStatus, StripeCall
from invoicing.stripe_sync.gateway import Json
from invoicing.stripe_sync.policy import to_stripe

# Customers of whom an end was not told; joined to the other news.
ENDS_UNTOLD = """
SELECT c.customer_id FROM ledger_transaction t
  JOIN stripe_call c ON c.kind = 'grant' AND c.state = 'done' AND c.subject = 'grant:' || t.grant_id
 WHERE t.kind IN ('voided', 'expired')
   AND NOT EXISTS (SELECT FROM stripe_call e
                    WHERE e.kind = 'end' AND e.subject = c.subject || ':end')
UNION
SELECT i.customer_id FROM invoice i
  JOIN stripe_call c ON c.kind = 'copy' AND c.state = 'done' AND c.subject = 'invoice:' || i.id
 WHERE i.status IN ('paid', 'void', 'uncollectible')
   AND NOT EXISTS (SELECT FROM stripe_call e
                    WHERE e.kind = 'end' AND e.subject = c.subject || ':' || i.status)
UNION
SELECT i.customer_id FROM invoice i
  JOIN stripe_call c ON c.kind = 'end' AND c.subject = 'invoice:' || i.id || ':' || i.status
  JOIN credit_note n ON n.invoice_id = i.id
  LEFT JOIN credit_note_void v ON v.credit_note_id = n.id
 WHERE i.status <> 'void' AND n.total_minor > 0 AND c.state = 'done'
   AND (v.id IS NOT NULL) = EXISTS (SELECT FROM stripe_call e WHERE e.subject = 'note:' || n.id)
   AND NOT EXISTS (SELECT FROM stripe_call e WHERE e.subject = 'note:' || n.id || ':void')
"""
GRANTS, INVOICES, NOTES = "billing/credit_grants", "invoices", "credit_notes"
_REASONS = ("duplicate", "fraudulent", "order_change", "product_unsatisfactory")


@dataclass(frozen=True)
class Step:
    """One thing to tell, once; `words` says it, or that it cannot be said exactly."""

    kind: CallKind
    subject: str
    words: Callable[[], Json]


def next_ends(customer_id: int) -> Iterator[Step]:
    """Yield what is told next of each grant and copy that ended; nothing while a step waits.

    A step that Stripe refused is not told again, and none after it: a person looks.
    """
    states = dict(
        StripeCall.objects.filter(customer_id=customer_id)
        .exclude(kind=CallKind.USAGE)
        .order_by("generation")
        .values_list("subject", "state")
    )
    told = StripeCall.objects.filter(customer_id=customer_id, state=CallState.DONE)
    for call in told.filter(kind=CallKind.GRANT).order_by("id"):
        yield from _next(_steps_of_grant(call), states)
    for call in told.filter(kind=CallKind.COPY).order_by("id"):
        lines = [state for name, state in states.items() if _is_lines(name, call.subject)]
        if all(state == CallState.DONE for state in lines):
            yield from _next(_steps_of_copy(call), states)


def _next(steps: Iterator[Step], states: dict[str, str]) -> Iterator[Step]:
    for step in steps:
        state = states.get(step.subject)
        if state is None:
            yield step
        if state != CallState.DONE:
            return


def _is_lines(subject: str, of: str) -> bool:
    head, _, number = subject.rpartition(":")
    return head == of and number.isdigit()


def _steps_of_grant(call: StripeCall) -> Iterator[Step]:
    grant_id = int(call.subject.partition(":")[2])
    ends = LedgerTransaction.objects.filter(
        grant_id=grant_id, kind__in=[LedgerKind.VOIDED, LedgerKind.EXPIRED]
    )
    if (end := ends.order_by("position").first()) is not None:
        verb = "void" if end.kind == LedgerKind.VOIDED else "expire"
        yield _end(f"{call.subject}:end", GRANTS, call.stripe_id, verb)


def _steps_of_copy(call: StripeCall) -> Iterator[Step]:
    invoice = Invoice.objects.get(pk=int(call.subject.partition(":")[2]))
    if invoice.status == InvoiceStatus.FINALIZED:
        return
    end = partial(_end, name=INVOICES, stripe_id=call.stripe_id)
    yield end(f"{call.subject}:finalize", verb="finalize", words={"auto_advance": False})
    if invoice.status == InvoiceStatus.VOID:
        yield end(f"{call.subject}:void", verb="void")
        return
    paid = f"{call.subject}:{InvoiceStatus.PAID}"
    was_paid = StripeCall.objects.filter(kind=CallKind.END, subject=paid).first()
    told = {note.pk: _call_of(note) for note in invoice.credit_notes.all()}
    notes = [
        note
        for note in invoice.credit_notes.filter(total_minor__gt=0).order_by("sequence")
        if not hasattr(note, "void") or told[note.pk] is not None
    ]
    before = [note for note in notes if was_paid is None or _is_earlier(told[note.pk], was_paid)]
    for note in before:
        yield _note(note, call.stripe_id, is_paid=False)
    if invoice.status == InvoiceStatus.PAID:
        yield end(paid, verb="pay", words={"paid_out_of_band": True})
    else:
        yield end(f"{call.subject}:{invoice.status}", verb="uncollectible")
    for note in notes:
        if note not in before:
            yield _note(note, call.stripe_id, is_paid=True)
        if hasattr(note, "void"):
            made = told[note.pk]
            yield _end(f"note:{note.pk}:void", NOTES, made.stripe_id if made else "", "void")


def _is_earlier(call: StripeCall | None, than: StripeCall) -> bool:
    return call is not None and call.pk < than.pk


def _call_of(note: CreditNote) -> StripeCall | None:
    return StripeCall.objects.filter(kind=CallKind.NOTE, subject=f"note:{note.pk}").first()


def _end(subject: str, name: str, stripe_id: str, verb: str, words: Json | None = None) -> Step:
    params = {"name": name, "id": stripe_id, "verb": verb, "words": words or {}}
    return Step(CallKind.END, subject, lambda: params)


def _note(note: CreditNote, invoice: str, *, is_paid: bool) -> Step:
    return Step(CallKind.NOTE, f"note:{note.pk}", partial(_words_of, note, invoice, is_paid))


def _words_of(note: CreditNote, invoice: str, is_paid: bool) -> Json:
    """Say what a note took off; on a paid copy it goes back out of band.

    Raises:
        NotChargeable: Stripe does not hold the amount exactly.
    """
    amount = to_stripe(note.total_minor, note.currency)
    words: Json = {
        "invoice": invoice, "amount": amount, "memo": f"Copy of {note.number}",
        "metadata": {"credit_note": str(note.number)},
    }  # fmt: skip
    if note.reason in _REASONS:
        words["reason"] = note.reason
    if is_paid:
        words["out_of_band_amount"] = amount
    return words
