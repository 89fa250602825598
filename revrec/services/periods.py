"""Open and close the months of the books."""

from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.errors import Conflict, NotAllowed
from billing_project.kernel.models import User
from billing_project.kernel.period import midnight
from credits.services.rating import rate_pending
from metering.services.aggregate import aggregate_batches
from revrec.models import AccountingPeriod, PeriodStatus
from revrec.schedule import day_of
from revrec.selectors.facts import customers_to_recognise
from revrec.selectors.reports import signed_balance
from revrec.services.months import ensure_period
from revrec.services.recognise import recognise_customer, recognise_pending
from revrec.services.sealing import seal_period, sealing_key

__all__ = ["close_period", "ensure_period"]

_ALL = 10**9  # More than ever wait.


def close_period(
    *, period: AccountingPeriod, by: User, at: datetime, reason: str = ""
) -> AccountingPeriod:
    """Close a month for good: what is learnt later goes to the first open one.

    All that waits is aggregated, rated and recognised first, customer by customer; what appears
    meanwhile is recognised under the lock, and nobody's may fail there. What was reported but could
    not be rated yet (no period, no approved rate) is a late fact of a later month. The trial
    balance is stored with its sha256, and the journal's head is sealed.

    Args:
        reason: Why, in words; kept in the audit trail.

    Raises:
        NotAllowed: `by` is a person without the permission.
        Conflict: the month has not ended, is closed already, or follows one that is open; or there
            is no key to seal it with.
        Exception: whatever keeps a customer from being recognised; the month stays open.
    """
    if not by.is_service and not by.has_perm("revrec.close_accountingperiod"):
        raise NotAllowed("only finance approvers close a period")
    _refuse(period, at)
    sealing_key()
    _catch_up(by, at)
    return _close(period, by, at, reason)


def _catch_up(by: User, at: datetime) -> None:
    """Bring usage and facts that wait into the books, each customer in a transaction of their own.

    Who fails here is met again under the lock.
    """
    aggregate_batches(at=at, limit=_ALL)
    rate_pending(by=by, at=at, limit=_ALL)
    recognise_pending(by=by, at=at, limit=None)


@transaction.atomic
def _close(period: AccountingPeriod, by: User, at: datetime, reason: str) -> AccountingPeriod:
    locked = AccountingPeriod.objects.select_for_update().get(pk=period.pk)
    _refuse(locked, at)
    _recognise_all(by, at)
    balance = signed_balance(locked)
    locked.status, locked.closed_at, locked.closed_by = PeriodStatus.CLOSED, at, by
    locked.trial_balance = balance
    locked.trial_balance_sha256 = sha256_hex(canonical_json(balance))
    locked.save(
        update_fields=[
            "status", "closed_at", "closed_by", "trial_balance", "trial_balance_sha256"
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
    while waiting := set(customers_to_recognise(day_of(at))) - done:
        for customer_id in sorted(waiting):
            recognise_customer(customer_id=customer_id, by=by, at=at)
        done |= waiting


def _refuse(period: AccountingPeriod, at: datetime) -> None:
    if period.status == PeriodStatus.CLOSED:
        raise Conflict(f"{period} is closed already", code="period_closed")
    if at < midnight(period.end_on):
        raise Conflict(f"{period} has not ended")
    earlier = AccountingPeriod.objects.filter(
        status=PeriodStatus.OPEN, start_on__lt=period.start_on
    ).first()
    if earlier is not None:
        raise Conflict(f"{earlier} is open; months close in their order")
