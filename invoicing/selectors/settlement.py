"""What is owed back to customers: their balances, and refunds that notes promise."""

from dataclasses import dataclass

from django.db.models import F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from billing_project.kernel.errors import Insufficient
from billing_project.kernel.money import Money
from invoicing.crediting import Paid
from invoicing.models import (
    CreditNote,
    CustomerBalance,
    Dispute,
    Invoice,
    Overpayment,
    Payment,
    Refund,
    ShortPayment,
    Verdict,
    WriteOff,
)
from metering.models import Customer

BY_BANK = "dispute"  # The method of what a lost dispute gave back in a refund's place.


@dataclass(frozen=True)
class OwedBack:
    """What a customer has with us in one currency.

    Attributes:
        balance: Pays the next invoices.
        refunds_due: Notes promise it as refunds, and none was recorded yet.
    """

    balance: Money
    refunds_due: Money


@dataclass(frozen=True)
class RefundDue:
    """What a note promised to refund, and nobody did yet."""

    note: CreditNote
    left: Money


def paid_of(invoice: Invoice) -> Paid:
    """Return what came in for an invoice as money, and what went back of that: notes, disputes."""
    left = invoice.paid_minor - invoice.returned_minor
    back = invoice.returned_minor + min(left, disputed_minor(invoice))
    return Paid(invoice.paid_minor, back)


def disputed_minor(invoice: Invoice) -> int:
    """Return what banks took back of an invoice's payments, for now or for good."""
    standing = Dispute.objects.filter(invoice=invoice).exclude(outcome__verdict=Verdict.WON)
    return standing.aggregate(total=Sum("amount_minor"))["total"] or 0


def refunded_by_banks(invoice: Invoice) -> int:
    """Return what notes still promise to refund, and banks have given back for good already."""
    notes = CreditNote.objects.filter(invoice=invoice, refund_minor__gt=0, void=None)
    due = sum(refund_left(note) for note in notes)
    kept = invoice.paid_minor - (invoice.returned_minor - due) - _lost_minor(invoice)
    return max(0, due - max(0, kept))


def balance_by_banks(invoice: Invoice) -> int:
    """Return what is on the balance out of an invoice, and banks have given back for good already.

    What of it paid other invoices is there no more.
    """
    notes = CreditNote.objects.filter(invoice=invoice, void=None)
    noted: int = notes.aggregate(total=Sum("balance_minor", default=0))["total"]
    over = Overpayment.objects.filter(invoice=invoice)
    put: int = noted + over.aggregate(total=Sum("amount_minor", default=0))["total"]
    back = noted + invoice.returned_minor + _lost_minor(invoice)
    beyond = back - invoice.paid_minor - invoice.applied_minor
    return max(0, min(put, beyond, balance_of(invoice)))


def refunds_by_bank(dispute: Dispute) -> QuerySet[Refund]:
    """List the refunds that a lost dispute made in their place."""
    return Refund.objects.filter(method=BY_BANK, source_key__startswith=f"dispute:{dispute.pk}:")


def _lost_minor(invoice: Invoice) -> int:
    """Return what banks took back for good, but for the refunds that they made by it."""
    lost = Dispute.objects.filter(invoice=invoice, outcome__verdict=Verdict.LOST)
    made = [refunds_by_bank(dispute).values_list("amount_minor", flat=True) for dispute in lost]
    return sum(dispute.amount_minor for dispute in lost) - sum(map(sum, made))


def never_paid_minor(invoice: Invoice) -> int:
    """Return what a payment fell short by and nobody is asked for: it never came."""
    short = ShortPayment.objects.filter(invoice=invoice).first()
    return short.amount_minor if short else 0


def creditable_minor(invoice: Invoice) -> int:
    """Return what notes may still take off an invoice, with tax: no bank took it, and it came."""
    left = invoice.total_minor - invoice.credited_minor
    return max(0, left - disputed_minor(invoice) - never_paid_minor(invoice))


def refuse_not_kept(invoice: Invoice, total_minor: int) -> None:
    """Refuse to give back what never came, or a bank took back already, or may yet.

    Args:
        total_minor: What a note takes off, with tax.

    Raises:
        Insufficient: the message says how much is left.
    """
    gone = {"are disputed": disputed_minor(invoice), "never came": never_paid_minor(invoice)}
    left = creditable_minor(invoice)
    why = [
        f"{Money(minor, invoice.currency)} of {invoice.number} {words}"
        for words, minor in gone.items()
        if minor
    ]
    if why and total_minor > left:
        still = Money(left, invoice.currency)
        raise Insufficient(f"{' and '.join(why)}: {still} is left to credit")


def given_up_of(note: CreditNote) -> int:
    """Return what a note took off what had been written off: its open part, if it came later.

    No note is voided once its invoice was written off, so that the last ones are those, and one
    that was voided came before.
    """
    row = WriteOff.objects.select_related("invoice").filter(invoice=note.invoice_id).first()
    if row is None or not note.open_minor or hasattr(note, "void"):
        return 0
    back = Payment.objects.filter(invoice=note.invoice_id, is_recovery=True)
    recovered: int = back.aggregate(total=Sum("amount_minor", default=0))["total"]
    taken_off = row.amount_minor - recovered - row.invoice.written_off_minor
    since = CreditNote.objects.filter(invoice=note.invoice_id, void=None, pk__gte=note.pk)
    together: int = since.aggregate(total=Sum("open_minor", default=0))["total"]
    return note.open_minor if together <= taken_off else 0


def balance_of(invoice: Invoice) -> int:
    """Return what an invoice's customer has in its currency, in minor units."""
    return balance_in(invoice.customer_id, invoice.currency)


def balance_in(customer_id: int, currency: str) -> int:
    """Return what a customer has in a currency, in minor units."""
    rows = CustomerBalance.objects.filter(customer_id=customer_id, currency=currency)
    return rows.values_list("balance_minor", flat=True).first() or 0


def owed_back(customer: Customer) -> list[OwedBack]:
    """List what is owed back to a customer, by currency; currencies of nothing are left out."""
    balances = dict(
        CustomerBalance.objects.filter(customer=customer).values_list("currency", "balance_minor")
    )
    due = _refunds_due(customer)
    return [
        OwedBack(Money(balances.get(code, 0), code), Money(due.get(code, 0), code))
        for code in sorted({*balances, *due})
        if balances.get(code) or due.get(code)
    ]


def refunds_due(limit: int) -> list[RefundDue]:
    """List the notes that still have something to refund, the oldest first."""
    made = Refund.objects.filter(credit_note=OuterRef("pk")).order_by().values("credit_note")
    refunded = Subquery(made.annotate(total=Sum("amount_minor")).values("total"))
    notes = (
        CreditNote.objects.filter(refund_minor__gt=0, void=None)
        .annotate(left_minor=F("refund_minor") - Coalesce(refunded, 0))
        .filter(left_minor__gt=0)
        .select_related("invoice__customer")
        .order_by("sequence")
    )
    return [RefundDue(note, Money(note.left_minor, note.currency)) for note in notes[:limit]]


def refund_left(note: CreditNote) -> int:
    """Return what is still to be refunded for a note, in minor units; nothing for a void one."""
    if hasattr(note, "void"):
        return 0
    refunded: int = note.refunds.aggregate(total=Sum("amount_minor", default=0))["total"]
    return note.refund_minor - refunded


def _refunds_due(customer: Customer) -> dict[str, int]:
    """Sum by currency what notes promise to refund, less what was refunded."""
    notes = CreditNote.objects.filter(
        invoice__customer=customer, refund_minor__gt=0, void=None
    ).order_by()
    promised = dict(notes.values_list("currency").annotate(Sum("refund_minor")))
    if not promised:
        return {}
    refunds = Refund.objects.filter(customer=customer, credit_note__isnull=False).order_by()
    refunded = dict(refunds.values_list("currency").annotate(Sum("amount_minor")))
    return {code: minor - refunded.get(code, 0) for code, minor in promised.items()}
