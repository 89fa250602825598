"""What waits for people, for the home page: exceptions, decisions, drafts that may be issued."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing_project.console import figures
from billing_project.console.approvals import Approval, close_approvals, hold_approvals
from billing_project.console.exception_kinds import Exceptional, Kind
from billing_project.console.exceptions import exceptions_at
from billing_project.kernel.backoffice.display import money_text, object_url
from billing_project.kernel.backoffice.policies import why_not
from billing_project.kernel.models import User

_ROWS = 3  # Of one kind of exception; more are one line that leads to their list.


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
    return [*_exceptions(user, at), *_decisions(user), *_drafts(user, at)]


def age_text(since: datetime, at: datetime) -> str:
    """Say how long something has waited ("5 min")."""
    seconds = max(0, int((at - since).total_seconds()))
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"


def _exceptions(user: User, at: datetime) -> Iterator[Item]:
    for kind in exceptions_at(at):
        can = bool(kind.permission) and user.has_perm(kind.permission)
        if kind.count > _ROWS:
            yield Item(f"{kind.title}: {kind.count:,}", _oldest(kind, at), kind.url, can)
        else:
            yield from (Item(row.title, _note(row, at), row.url, can) for row in kind.rows)


def _note(row: Exceptional, at: datetime) -> str:
    return f"{row.detail}, for {age_text(row.since, at)}" if row.since else row.detail


def _oldest(kind: Kind, at: datetime) -> str:
    since = kind.rows[0].since
    return f"the oldest for {age_text(since, at)}" if since else kind.remedy


def _decisions(user: User) -> Iterator[Item]:
    may_decide = user.has_perm("kernel.approve_policychange")
    yield from (_of_approval(one) for one in (*close_approvals(user), *hold_approvals(user)))
    for change in figures.changes_to_decide():
        yield Item(
            change.title,
            f"policy change by {change.proposed_by}",
            object_url(change),
            may_decide and not why_not(user, change),
        )


def _of_approval(one: Approval) -> Item:
    return Item(one.title, f"{one.kind.lower()} by {one.proposed_by}", one.url, not one.refusal)


def _drafts(user: User, at: datetime) -> Iterator[Item]:
    may_issue = user.has_perm("invoicing.finalize_invoice")
    for invoice in figures.drafts():
        yield Item(
            f"{invoice} for {invoice.customer.name}",
            f"draft of {money_text(invoice.total_minor, invoice.currency)}",
            object_url(invoice),
            may_issue and invoice.ready_at <= at,
        )
