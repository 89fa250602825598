"""What went wrong with the books, invoices, payments and what Stripe says of them."""

from datetime import datetime

from django.db.models import Exists, OuterRef, Q
from django.urls import reverse

from billing_project.console import figures
from billing_project.console.exception_kinds import Exceptional, Kind, kind_of, kind_of_list
from billing_project.kernel.backoffice.display import (
    moment_text,
    money_text,
    object_url,
    sentence_text,
)
from billing_project.kernel.backoffice.related import list_url
from invoicing.models import (
    AttemptState,
    BillingHold,
    CreditNote,
    HoldCause,
    Invoice,
    InvoiceMail,
    InvoiceStatus,
    OpeningItem,
    ParkedEvent,
    PaymentAttempt,
    StripeDifference,
)
from invoicing.selectors import OverageState, refunds_due
from invoicing.selectors.opening import failed_items
from invoicing.selectors.settlement import RefundDue
from invoicing.stripe_sync.parking import parked_events
from revrec.services.anchoring import last_anchor, missing_of_anchor

_REFUNDS = 500  # Counted at most.


def older_state(at: datetime) -> Kind:
    """Books that are older than the last seal outside the database."""
    anchor, faults = last_anchor(), missing_of_anchor()
    after = anchor.manifest["created_at"] if anchor else ""
    url = reverse("console:books")
    return kind_of_list(
        "The books are older than their last seal: nothing is posted or closed",
        f"Restore a backup from after {after}; a seal of another installation is moved out of"
        " SEALS_DIR.",
        [Exceptional(fault.subject, fault.message, "engineering", None, url) for fault in faults],
        url,
    )


def holds(at: datetime) -> Kind:
    """Accounts and drafts that are held until somebody mends what is said."""
    rows = BillingHold.objects.filter(released_at=None).exclude(cause=HoldCause.APPROVAL)
    return kind_of(
        "Invoices and accounts held in doubt",
        "Mend what is said and release it, or reject the draft.",
        rows.select_related("customer", "invoice").order_by("opened_at"),
        lambda one: Exceptional(
            f"{one.customer.name}: {one.invoice or one.subject}",
            one.detail,
            "finance",
            one.opened_at,
            object_url(one),
        ),
        list_url(BillingHold, {}),
        permission="invoicing.release_billinghold",
    )


def declined(at: datetime) -> Kind:
    """Payments of which the last try failed."""
    newer = PaymentAttempt.objects.filter(
        invoice=OuterRef("invoice"), number__gt=OuterRef("number")
    )
    rows = PaymentAttempt.objects.filter(
        ~Exists(newer),
        state__in=(AttemptState.DECLINED, AttemptState.NOT_MADE),
        invoice__status=InvoiceStatus.FINALIZED,
    )
    return kind_of(
        "Payments that failed",
        "Ask the customer for another card, or for a transfer: the schedule tries by itself.",
        rows.select_related("invoice__customer").order_by("closed_at"),
        _of_attempt,
        list_url(Invoice, {"status__exact": "finalized"}),
    )


def _of_attempt(one: PaymentAttempt) -> Exceptional:
    amount, why = money_text(one.amount_minor, one.currency), one.failure_code or "not made"
    then = f"tried again {moment_text(one.retry_at)}" if one.retry_at else "nobody tries again"
    return Exceptional(
        f"{one.invoice} of {one.invoice.customer.name}",
        f"{amount}: {why}; {then}",
        "support" if one.retry_at else "finance",
        one.closed_at,
        object_url(one.invoice),
    )


def overcharged(at: datetime) -> Kind:
    """Periods that are claimed beyond what was used, and for which no note is proposed."""
    return kind_of_list(
        "Charged too much",
        "Issue a credit note over the overage that a correction took back.",
        [_of_overage(state) for state in figures.overcharged_undecided()],
        list_url(Invoice, {}),
        permission="invoicing.issue_creditnote",
    )


def _of_overage(state: OverageState) -> Exceptional:
    period = state.billing_period
    amount = money_text(state.overcharged_minor, state.price.currency)
    return Exceptional(
        f"{period.customer.name} was charged {amount} too much",
        f"overage of {period}: needs a credit note",
        "finance",
        None,
        figures.overage_url(period.pk),
    )


def refunds(at: datetime) -> Kind:
    """Refunds that a note promised and nobody sent."""
    return kind_of_list(
        "Refunds that were promised",
        "Send the money and record it on the note.",
        [_of_refund(due) for due in refunds_due(_REFUNDS)],
        list_url(CreditNote, {}),
        permission="invoicing.record_refund",
    )


def _of_refund(due: RefundDue) -> Exceptional:
    note, amount = due.note, money_text(due.left.amount_minor, due.left.currency)
    return Exceptional(
        f"{note.invoice.customer.name} is to get {amount} back",
        f"credit note {note.number} promised a refund",
        "finance",
        note.issued_at,
        object_url(note),
    )


def differences(at: datetime) -> Kind:
    """What Stripe says and we do not, or the other way round."""
    return kind_of(
        "Differences with Stripe",
        "Make the fact that lacks, there or here, or say why it is right as it is.",
        StripeDifference.objects.filter(resolved_at=None).order_by("first_seen_at"),
        lambda one: Exceptional(
            one.subject,
            f"{sentence_text(one.kind)}: here {one.here or 'nothing'}, there"
            f" {one.there or 'nothing'}",
            one.owner,
            one.first_seen_at,
            object_url(one),
        ),
        list_url(StripeDifference, {}),
    )


def parked(at: datetime) -> Kind:
    """Events of Stripe that could take no effect."""
    return kind_of(
        "Events of Stripe that fit nothing",
        "See what they are about; sent again from Stripe's dashboard, one may take effect.",
        parked_events(),
        lambda one: Exceptional(
            f"{one.type} {one.object_id}", one.detail, one.owner, one.first_at, object_url(one)
        ),
        list_url(ParkedEvent, {}),
    )


def mails(at: datetime) -> Kind:
    """Invoices of which no mail went out."""
    return kind_of(
        "Invoices that could not be mailed",
        "Correct the address and send the invoice again.",
        InvoiceMail.objects.filter(_not_sent_since(), given_up_at__isnull=False)
        .select_related("invoice")
        .order_by("given_up_at"),
        lambda one: Exceptional(
            f"{one.invoice} to {one.address}",
            one.failure,
            "support",
            one.given_up_at,
            object_url(one.invoice),
        ),
        list_url(InvoiceMail, {}),
        permission="invoicing.send_invoicemail",
    )


def openings(at: datetime) -> Kind:
    """Opening balances that the worker tries no more."""
    return kind_of(
        "Opening balances that failed",
        "Make what it lacks and try the import again, or leave it with its source.",
        failed_items(),
        lambda one: Exceptional(
            f"{one} of {one.customer}",
            one.detail,
            str(one.opening_import.policy_change.proposed_by),
            one.given_up_at,
            object_url(one),
        ),
        list_url(OpeningItem, {"state__exact": "failed"}),
        permission="invoicing.import_openings",
    )


def _not_sent_since() -> Q:
    """Leave out mails of which a later one of the same invoice went out."""
    later = InvoiceMail.objects.filter(
        invoice=OuterRef("invoice"), pk__gt=OuterRef("pk"), sent_at__isnull=False
    )
    return Q(~Exists(later))
