"""What went another way than it should, by kind: since when, who answers for it, what ends it.

Nothing is kept here: each kind reads the rows of the app that found it, and goes when they are
mended, released, acknowledged or explained there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse
from django_q.models import Failure

from billing_project.console import figures
from billing_project.kernel.backoffice.display import money_text, object_url, sentence_text
from billing_project.kernel.backoffice.related import list_url
from billing_project.kernel.models import OutboxMessage, WebhookEndpoint
from billing_project.kernel.quantity import how_many
from credits.models import Alert
from credits.selectors.unrated import open_unrated_episodes
from credits.services.rating import BLOCKED
from invoicing.models import (
    AttemptState,
    BillingHold,
    CreditNote,
    HoldCause,
    Invoice,
    InvoiceMail,
    InvoiceStatus,
    ParkedEvent,
    PaymentAttempt,
    StripeDifference,
)
from invoicing.selectors import refunds_due
from invoicing.stripe_sync.parking import parked_events
from metering.models import LagEpisode, QuarantineGroup
from revrec.services.anchoring import last_anchor, missing_of_anchor

_REFUNDS = 500  # Counted at most.
MOST = 20  # Shown of one kind; the list of its app has the others.


@dataclass(frozen=True)
class Exceptional:
    """One thing that somebody has to look at.

    Attributes:
        since: From when on it is so; None where its rows do not say.
        owner: A role, or the person who was named.
    """

    title: str
    detail: str
    owner: str
    since: datetime | None
    url: str


@dataclass(frozen=True)
class Kind:
    """Exceptions of one kind, the oldest first.

    Attributes:
        remedy: What ends one, as a person would do it.
        count: Of all, those that are not among `rows` included.
        url: The list of all.
    """

    title: str
    remedy: str
    rows: tuple[Exceptional, ...]
    count: int
    url: str


def exceptions_at(at: datetime) -> list[Kind]:
    """List the kinds of which something is open, as the chain runs: from capture to money."""
    found = [kind(at) for kind in _KINDS]
    return [kind for kind in found if kind.count]


def _quarantine(at: datetime) -> Kind:
    return _kind(
        "Quarantined events",
        "Map the customer, add the meter, replay or dismiss: nothing is lost meanwhile.",
        QuarantineGroup.objects.select_related("person").order_by("first_seen_at"),
        lambda one: Exceptional(
            f"{sentence_text(one.reason)}: {one.missing}",
            how_many(one.event_count, "event"),
            str(one.person or one.role),
            one.first_seen_at,
            object_url(one),
        ),
        list_url(QuarantineGroup, {}),
    )


def _lag(at: datetime) -> Kind:
    return _kind(
        "Counted late",
        "Acknowledge it, and see why the worker does not keep up.",
        LagEpisode.objects.filter(closed_at=None).order_by("opened_at"),
        lambda one: Exceptional(
            "Usage is counted later than it should",
            f"{one.worst_lag_seconds:.0f} s at worst",
            str(one.acknowledged_by or "engineering"),
            one.opened_at,
            object_url(one),
        ),
        list_url(LagEpisode, {}),
    )


def _unrated(at: datetime) -> Kind:
    return _kind(
        "Usage without a rate",
        "Propose its rate on the burn table; once approved, the usage is rated by itself.",
        open_unrated_episodes().order_by("opened_at"),
        lambda one: Exceptional(
            f"{one.meter.code}: {one.model or 'no model'}",
            f"{how_many(one.window_count, 'window')} of {how_many(one.customer_count, 'customer')}",
            str(one.acknowledged_by or "product"),
            one.opened_at,
            object_url(one),
        ),
        reverse("console:unrated"),
    )


def _stuck(at: datetime) -> Kind:
    rows = [note for note in figures.stuck_notes(at) if note.topic != BLOCKED]
    return Kind(
        "Work that is stuck",
        "Something fails again and again: the worker's log says what.",
        tuple(
            Exceptional(
                sentence_text(note.topic),
                f"{how_many(note.count, 'note')} not taken up",
                "engineering",
                note.since,
                list_url(OutboxMessage, {"topic__exact": note.topic}),
            )
            for note in rows
        ),
        len(rows),
        list_url(OutboxMessage, {}),
    )


def _failed(at: datetime) -> Kind:
    since = at - figures.FAILURES_SHOWN
    return _kind(
        "Tasks that failed",
        "The next run takes up the same work; a task that fails each time is mended.",
        Failure.objects.filter(started__gte=since).order_by("started"),
        lambda one: Exceptional(
            str(one.func), str(one.result)[:120], "engineering", one.started, object_url(one)
        ),
        list_url(Failure, {}),
    )


def _older_state(at: datetime) -> Kind:
    anchor, faults = last_anchor(), missing_of_anchor()
    rows = tuple(
        Exceptional(fault.subject, fault.message, "engineering", None, reverse("console:books"))
        for fault in faults
    )
    after = anchor.manifest["created_at"] if anchor else ""
    return Kind(
        "The books are older than their last seal: nothing is posted or closed",
        f"Restore a backup from after {after}; a seal of another installation is moved out of"
        " SEALS_DIR.",
        rows,
        len(rows),
        reverse("console:books"),
    )


def _alerts(at: datetime) -> Kind:
    rows = Alert.objects.filter(acknowledged_at=None, ended_at=None)
    return _kind(
        "Alerts nobody acknowledged",
        "Acknowledge it with a note: from then on you look after it.",
        rows.select_related("customer", "owner").order_by("raised_at"),
        lambda one: Exceptional(
            one.title,
            one.customer.name if one.customer else "all customers",
            str(one.owner or "support"),
            one.raised_at,
            object_url(one),
        ),
        list_url(Alert, {}),
    )


def _holds(at: datetime) -> Kind:
    rows = BillingHold.objects.filter(released_at=None).exclude(cause=HoldCause.APPROVAL)
    return _kind(
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
    )


def _declined(at: datetime) -> Kind:
    newer = PaymentAttempt.objects.filter(
        invoice=OuterRef("invoice"), number__gt=OuterRef("number")
    )
    rows = PaymentAttempt.objects.filter(
        ~Exists(newer),
        state__in=(AttemptState.DECLINED, AttemptState.NOT_MADE),
        invoice__status=InvoiceStatus.FINALIZED,
    )
    return _kind(
        "Payments that failed",
        "Ask the customer for another card, or for a transfer: the schedule tries by itself.",
        rows.select_related("invoice__customer").order_by("closed_at"),
        _of_attempt,
        list_url(Invoice, {"status__exact": "finalized"}),
    )


def _of_attempt(one: PaymentAttempt) -> Exceptional:
    amount, why = money_text(one.amount_minor, one.currency), one.failure_code or "not made"
    then = f"tried again {one.retry_at:%Y-%m-%d %H:%M}" if one.retry_at else "nobody tries again"
    return Exceptional(
        f"{one.invoice} of {one.invoice.customer.name}",
        f"{amount}: {why}; {then}",
        "support" if one.retry_at else "finance",
        one.closed_at,
        object_url(one.invoice),
    )


def _overcharged(at: datetime) -> Kind:
    rows = figures.overcharged_undecided()
    return Kind(
        "Charged too much",
        "Issue a credit note over the overage that a correction took back.",
        tuple(
            Exceptional(
                state.billing_period.customer.name,
                f"{money_text(state.overcharged_minor, state.price.currency)} in the period from"
                f" {state.billing_period.start_at:%Y-%m-%d}",
                "finance",
                None,
                figures.overage_url(state.billing_period.pk),
            )
            for state in rows[:MOST]
        ),
        len(rows),
        list_url(Invoice, {}),
    )


def _refunds(at: datetime) -> Kind:
    rows = refunds_due(_REFUNDS)
    return Kind(
        "Refunds that were promised",
        "Send the money and record it on the note.",
        tuple(
            Exceptional(
                f"{due.note} of {due.note.invoice.customer.name}",
                f"{money_text(due.left.amount_minor, due.left.currency)} to go back",
                "finance",
                due.note.issued_at,
                object_url(due.note),
            )
            for due in rows[:MOST]
        ),
        len(rows),
        list_url(CreditNote, {}),
    )


def _differences(at: datetime) -> Kind:
    return _kind(
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


def _parked(at: datetime) -> Kind:
    return _kind(
        "Events of Stripe that fit nothing",
        "See what they are about; sent again from Stripe's dashboard, one may take effect.",
        parked_events(),
        lambda one: Exceptional(
            f"{one.type} {one.object_id}", one.detail, one.owner, one.first_at, object_url(one)
        ),
        list_url(ParkedEvent, {}),
    )


def _mails(at: datetime) -> Kind:
    return _kind(
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
    )


def _not_sent_since() -> Q:
    """Leave out mails of which a later one of the same invoice went out."""
    later = InvoiceMail.objects.filter(
        invoice=OuterRef("invoice"), pk__gt=OuterRef("pk"), sent_at__isnull=False
    )
    return Q(~Exists(later))


def _webhooks(at: datetime) -> Kind:
    rows = figures.endpoints_in_trouble()
    return Kind(
        "Systems that are told nothing",
        "Mend the receiver, switch the endpoint on, and send again.",
        tuple(_of_endpoint(one) for one in rows[:MOST]),
        len(rows),
        list_url(WebhookEndpoint, {}),
    )


def _of_endpoint(one: WebhookEndpoint) -> Exceptional:
    given_up: int = one.given_up_count  # type: ignore[attr-defined]
    said = f"switched off: {one.disabled_reason}" if one.disabled_at else ""
    return Exceptional(
        one.url,
        said or f"{how_many(given_up, 'webhook')} given up",
        "engineering",
        one.failing_since,
        object_url(one),
    )


def _kind(
    title: str,
    remedy: str,
    rows: QuerySet,  # type: ignore[type-arg]
    row: Callable[..., Exceptional],
    url: str,
) -> Kind:
    return Kind(title, remedy, tuple(row(one) for one in rows[:MOST]), rows.count(), url)


_KINDS: tuple[Callable[[datetime], Kind], ...] = (
    _older_state,
    *(_quarantine, _lag, _unrated, _stuck, _failed, _alerts, _holds, _overcharged, _declined),
    *(_refunds, _differences, _parked, _mails, _webhooks),
)


def owners_of(kinds: list[Kind]) -> list[str]:
    """List who answers for something of what is shown, by name."""
    return sorted({row.owner for kind in kinds for row in kind.rows})


def of_owner(kinds: list[Kind], owner: str) -> Iterator[Kind]:
    """Leave what one owner answers for."""
    for kind in kinds:
        rows = tuple(row for row in kind.rows if row.owner == owner)
        if rows:
            yield Kind(kind.title, kind.remedy, rows, kind.count, kind.url)
