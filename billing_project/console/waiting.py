"""What waits for people: decisions, drafts, overcharges, refunds, notes that nobody takes up."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from billing_project.console import figures
from billing_project.kernel.backoffice.display import money_text, object_url
from billing_project.kernel.backoffice.policies import why_not
from billing_project.kernel.backoffice.related import list_url
from billing_project.kernel.models import OutboxMessage, User, WebhookDelivery
from billing_project.kernel.quantity import how_many
from credits.services.rating import BLOCKED
from invoicing.selectors import refunds_due

_REFUNDS = 6  # Shown at most, as of drafts.


@dataclass(frozen=True)
class Item:
    """One thing that waits, and whether the person who looks can take it up."""

    title: str
    note: str
    url: str
    can: bool = False


def queue_of(user: Any, at: datetime) -> list[Item]:
    """List what waits: what is wrong first, then what is to be decided or issued."""
    if not isinstance(user, User):
        return []
    return [
        *_stuck(at),
        *_untold(user),
        *_overcharged(user),
        *_refunds(user),
        *_decisions(user),
        *_drafts(user, at),
    ]


def age_text(since: datetime, at: datetime) -> str:
    """Say how long something has waited ("5 min")."""
    seconds = max(0, int((at - since).total_seconds()))
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"


def _stuck(at: datetime) -> Iterator[Item]:
    for note in figures.stuck_notes(at):
        if note.topic == BLOCKED:  # Nothing fails: a rate or a period lacks.
            detail = f"the oldest for {age_text(note.since, at)}: see what it waits for"
            yield Item("Usage waits that cannot be rated", detail, reverse("console:unrated"))
            continue
        yield Item(
            f"{how_many(note.count, 'note')} of {note.topic.replace('_', ' ')} stuck",
            f"the oldest for {age_text(note.since, at)}: see the worker's log",
            list_url(OutboxMessage, {"topic__exact": note.topic}),
        )


def _untold(user: User) -> Iterator[Item]:
    """Tell of systems that are told nothing any more, and of what was given up."""
    may_mend = user.has_perm("kernel.manage_webhookendpoint")
    for endpoint in figures.endpoints_in_trouble():
        if endpoint.disabled_at is not None:
            said = f"switched off: {endpoint.disabled_reason}"
            yield Item(f"Nothing is sent to {endpoint.url}", said, object_url(endpoint), may_mend)
            continue
        count: int = endpoint.given_up_count  # type: ignore[attr-defined]
        yield Item(
            f"{how_many(count, 'webhook')} to {endpoint.url} given up",
            "not taken in three days: mend the receiver and send again",
            list_url(WebhookDelivery, {"endpoint__id__exact": endpoint.pk, "state": "given_up_at"}),
            may_mend,
        )


def _overcharged(user: User) -> Iterator[Item]:
    may_credit = user.has_perm("invoicing.issue_creditnote")
    for state in figures.overcharged_undecided():
        period = state.billing_period
        amount = money_text(state.overcharged_minor, state.price.currency)
        yield Item(
            f"{period.customer.name} was charged {amount} too much",
            f"overage from {period.start_at:%Y-%m-%d}: needs a credit note",
            figures.overage_url(period.pk),
            may_credit,
        )


def _refunds(user: User) -> Iterator[Item]:
    may_refund = user.has_perm("invoicing.record_refund")
    for due in refunds_due(_REFUNDS):
        note, amount = due.note, money_text(due.left.amount_minor, due.left.currency)
        yield Item(
            f"{note.invoice.customer.name} is to get {amount} back",
            f"credit note {note.number} promised a refund",
            object_url(note),
            may_refund,
        )


def _decisions(user: User) -> Iterator[Item]:
    may_decide = user.has_perm("kernel.approve_policychange")
    for change in figures.changes_to_decide():
        yield Item(
            change.title,
            f"policy change by {change.proposed_by}",
            object_url(change),
            may_decide and not why_not(user, change),
        )


def _drafts(user: User, at: datetime) -> Iterator[Item]:
    may_issue = user.has_perm("invoicing.finalize_invoice")
    for invoice in figures.drafts():
        yield Item(
            f"{invoice} for {invoice.customer.name}",
            f"draft of {money_text(invoice.total_minor, invoice.currency)}",
            object_url(invoice),
            may_issue and invoice.ready_at <= at,
        )
