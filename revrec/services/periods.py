"""Open and close the months of the books: one person proposes, another closes, once and for all."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import User
from billing_project.kernel.period import DAY, midnight
from credits.services.grants import expire_due_grants
from credits.services.rating import rate_pending
from metering.services.aggregate import aggregate_batches
from revrec.models import AccountingPeriod, CloseException, PeriodStatus
from revrec.selectors.closing import Item, close_checklist, owners_of
from revrec.selectors.facts import customers_to_recognise
from revrec.selectors.reports import signed_balance
from revrec.selectors.zone import end_of
from revrec.services.anchoring import refuse_older_state
from revrec.services.estimates import true_up
from revrec.services.months import ensure_period
from revrec.services.recognise import recognise_customer, recognise_pending
from revrec.services.revaluing import revalue
from revrec.services.sealing import seal_period, sealing_key

__all__ = ["close_period", "ensure_period", "propose_close", "sign_exception"]

_ALL = 10**9  # More than ever wait.


@transaction.atomic
def propose_close(
    *, period: AccountingPeriod, by: User, at: datetime, reason: str = ""
) -> AccountingPeriod:
    """Begin the soft close of a month that has ended; somebody else closes it.

    What comes in meanwhile is still dated inside. Proposed again by another person, the close is
    theirs: whoever proposed it last does not close it.

    Raises:
        NotAllowed: `by` is a person without the permission.
        Conflict: the month has not ended, or is closed already; or the journal is older than the
            last seal outside the database (`older_state`).
    """
    _admit(by, "revrec.propose_close", "revrec.close_accountingperiod")
    locked = AccountingPeriod.objects.select_for_update().get(pk=period.pk)
    _refuse_early(locked, at)
    refuse_older_state()
    locked.status, locked.soft_closed_at, locked.soft_closed_by = PeriodStatus.SOFT, at, by
    locked.save(update_fields=["status", "soft_closed_at", "soft_closed_by"])
    audit.record(
        by=by, at=at, action="propose_close", subject=locked, reason=reason, period=str(locked)
    )
    return locked


@transaction.atomic
def sign_exception(
    *, period: AccountingPeriod, item: str, by: User, at: datetime, reason: str
) -> CloseException:
    """Sign that a finding of the checklist does not keep a month open.

    It holds for what the checklist says now; where that changes, it is signed anew.

    Raises:
        NotAllowed: `by` does not answer for the step that the finding belongs to.
        Invalid: the checklist has no such item, or no reason was given; with its `field`.
        Conflict: nothing is missing there, no exception can be made, or one stands already.
    """
    if not reason.strip():
        raise Invalid("an exception needs its reason", field="reason")
    found = next((one for one in close_checklist(period, at) if one.code == item), None)
    if found is None:
        raise Invalid(f"the checklist has no item {item}", field="item")
    if found.is_met:
        raise Conflict(f"nothing is missing: {found.title}")
    if found.step is None:
        raise Conflict(f"no exception is made of it: {found.says}")
    owners = owners_of(found.step, at)
    if by not in owners:
        named = ", ".join(map(str, owners)) or "nobody yet: name an owner first"
        raise NotAllowed(f"only who answers for {found.step.label} signs: {named}")
    row = CloseException.objects.create(
        period=period, item=item, step=found.step, says=found.says, reason=reason,
        signed_at=at, signed_by=by,
    )  # fmt: skip
    audit.record(
        by=by, at=at, action="sign_close_exception", subject=row, reason=reason,
        period=str(period), item=item, says=found.says,
    )  # fmt: skip
    return row


def close_period(
    *, period: AccountingPeriod, by: User, at: datetime, reason: str = ""
) -> AccountingPeriod:
    """Close a month for good: what is learnt later goes to the first open one.

    All that waits is aggregated, rated and recognised first, customer by customer; what appears
    meanwhile is recognised under the lock, and nobody's may fail there. What was reported but could
    not be rated yet (no period) is a late fact of a later month. The trial balance is stored with
    its sha256 and the checklist as it was met, and the journal's head is sealed.

    Args:
        reason: Why, in words; kept in the audit trail.

    Raises:
        NotAllowed: `by` is a person without the permission, or proposed the close themselves.
        Conflict: the month has not ended, is closed already, follows one that is open, or nobody
            proposed its close; something of the checklist is missing (`close_findings`); there is
            no key to seal it with; or the journal is older than the last seal outside the database
            (`older_state`).
        Exception: whatever keeps a customer from being recognised; the month stays open.
    """
    _admit(by, "revrec.close_accountingperiod")
    _refuse(AccountingPeriod.objects.get(pk=period.pk), by, at)
    refuse_older_state()
    sealing_key()
    _catch_up(period, by, at)
    return _close(period, by, at, reason)


def _admit(by: User, *permissions: str) -> None:
    if not by.is_service and not any(by.has_perm(permission) for permission in permissions):
        raise NotAllowed("only finance closes a period")


def _catch_up(period: AccountingPeriod, by: User, at: datetime) -> None:
    """Bring usage and facts that wait into the books, each customer in a transaction of their own.

    Credits whose time was over with the month end now, before what they leave is dated: usage of
    before burns them however late it is rated. Who fails here is met again under the lock.
    """
    aggregate_batches(at=at, limit=_ALL)
    rate_pending(by=by, at=at, limit=_ALL)
    month_is_over = midnight(period.end_on) + DAY  # In every time zone.
    expire_due_grants(by=by, at=at, grace=max(at - month_is_over, timedelta(0)))
    recognise_pending(by=by, at=at, limit=None)


@transaction.atomic
def _close(period: AccountingPeriod, by: User, at: datetime, reason: str) -> AccountingPeriod:
    locked = AccountingPeriod.objects.select_for_update().get(pk=period.pk)
    _refuse(locked, by, at)
    _recognise_all(by, at)
    true_up(period=locked, by=by, at=at)
    revalue(period=locked, by=by, at=at)
    checklist = close_checklist(locked, at)
    _refuse_missing(locked, checklist)
    balance = signed_balance(locked)
    locked.status, locked.closed_at, locked.closed_by = PeriodStatus.CLOSED, at, by
    locked.trial_balance = balance
    locked.trial_balance_sha256 = sha256_hex(canonical_json(balance))
    locked.checklist = [_as_json(item) for item in checklist]
    locked.save(
        update_fields=[
            "status", "closed_at", "closed_by", "trial_balance", "trial_balance_sha256",
            "checklist",
        ]
    )  # fmt: skip
    audit.record(
        by=by,
        at=at,
        action="close_period",
        subject=locked,
        reason=reason,
        period=str(locked),
        trial_balance_sha256=locked.trial_balance_sha256,
    )
    seal_period(period=locked, by=by, at=at)
    return locked


def _recognise_all(by: User, at: datetime) -> None:
    """Recognise until nobody waits; who was recognised here stays locked, and cannot wait again."""
    done: set[int] = set()
    while waiting := set(customers_to_recognise(at)) - done:
        for customer_id in sorted(waiting):
            recognise_customer(customer_id=customer_id, by=by, at=at)
        done |= waiting


def _refuse(period: AccountingPeriod, by: User, at: datetime) -> None:
    _refuse_early(period, at)
    earlier = (
        AccountingPeriod.objects.exclude(status=PeriodStatus.CLOSED)
        .filter(start_on__lt=period.start_on)
        .first()
    )
    if earlier is not None:
        raise Conflict(f"{earlier} is open; months close in their order")
    if period.status != PeriodStatus.SOFT:
        raise Conflict(f"nobody proposed to close {period}", code="close_not_proposed")
    if period.soft_closed_by_id == by.pk:
        raise NotAllowed("whoever proposed the close does not close the month: two people do")


def _refuse_early(period: AccountingPeriod, at: datetime) -> None:
    if period.status == PeriodStatus.CLOSED:
        raise Conflict(f"{period} is closed already", code="period_closed")
    if at < end_of(period):
        raise Conflict(f"{period} has not ended")


def _refuse_missing(period: AccountingPeriod, checklist: Sequence[Item]) -> None:
    missing = [item.says for item in checklist if not item.is_met]
    if missing:
        raise Conflict(f"{period} stays open: {'; '.join(missing)}", code="close_findings")


def _as_json(item: Item) -> dict[str, str]:
    """Keep what an item said, and who signed for it."""
    row = {"item": item.code, "title": item.title, "says": item.says}
    if item.exception is not None:
        row |= {
            "signed_by": str(item.exception.signed_by),
            "signed_at": item.exception.signed_at.isoformat(),
            "reason": item.exception.reason,
        }
    return row
