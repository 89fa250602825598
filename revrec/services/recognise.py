"""Bring the books up to date with what happened to a customer.

Facts come from below: issued lines, payments, credit notes and refunds, the credit ledger, rated
usage, and the passing of service days. Each is accounted for once; running again, or twice at once,
changes nothing.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction

from billing_project.kernel import outbox
from billing_project.kernel.apart import each_apart
from billing_project.kernel.models import User
from metering.services.customers import lock_customer
from revrec.models import BooksMark
from revrec.selectors.facts import TOPICS, customers_to_recognise
from revrec.selectors.waiting import kinds_waiting
from revrec.selectors.zone import held_zone
from revrec.services.anchoring import refuse_older_state
from revrec.services.corrections import account_corrections
from revrec.services.drafts import Run
from revrec.services.fees import recognise_fees
from revrec.services.grants import account_grants, account_movements
from revrec.services.invoices import account_invoices, account_payments
from revrec.services.months import hold_open_books
from revrec.services.outcomes import account_decisions
from revrec.services.overage import accrue_overage
from revrec.services.provider import account_provider
from revrec.services.settlements import account_settlements
from revrec.sources import SourceType

_OF = SourceType
_MOVE = """
UPDATE books_mark b SET
  through_transaction = coalesce(
      (SELECT max(t.id) FROM ledger_transaction t WHERE t.customer_id = b.customer_id), 0),
  through_usage = coalesce(
      (SELECT max(u.id) FROM rated_usage u WHERE u.customer_id = b.customer_id), 0)
 WHERE b.customer_id = %s RETURNING through_transaction, through_usage
"""
Step = tuple[Callable[[Run], int], frozenset[SourceType]]
# What is done for a customer where facts of these kinds wait, in this order.
_CLAIMS: Sequence[Step] = (
    (account_decisions, frozenset({_OF.OUTCOME_DECISION})),
    (account_invoices, frozenset({_OF.INVOICE_LINE})),
    (account_payments, frozenset({_OF.PAYMENT})),
)
_CHANGES: Sequence[Step] = (
    (account_provider, frozenset({_OF.OVERPAYMENT, _OF.PROCESSOR_FEE, _OF.DISPUTE})),
    (
        account_corrections,
        frozenset(
            {
                _OF.CREDIT_NOTE, _OF.CREDIT_NOTE_VOID, _OF.INVOICE_VOID, _OF.WRITE_OFF,
                _OF.PAYMENT, _OF.DISPUTE_OUTCOME, _OF.CONTRACT_ALLOCATION,
                _OF.CONTRACT_MODIFICATION, _OF.GRANT_BASIS,
            }
        ),
    ),
    (
        account_settlements,
        frozenset(
            {_OF.REFUND, _OF.REFUND_FAILURE, _OF.BALANCE_APPLICATION, _OF.SHORT_PAYMENT}
        ),
    ),
)  # fmt: skip


@transaction.atomic
def recognise_customer(*, customer_id: int, by: User, at: datetime) -> int:
    """Account for all that happened to a customer; fees through the last day that has ended.

    Locks: open periods, the customer, then the head of the journal. Notes in the outbox are taken
    before the facts are read, so that what commits later has a note of its own.

    Returns:
        The number of entries posted.
    """
    hold_open_books()
    lock_customer(customer_id)
    for topic in TOPICS:
        outbox.take(topic, customer_id)
    mark = BooksMark.objects.get_or_create(customer_id=customer_id)[0]
    run = Run(customer_id, by, at, mark, held_zone())
    waiting = kinds_waiting(customer_id)
    posted = accrue_overage(run) + _take_up(run, waiting, _CLAIMS)
    posted += account_grants(run) + _take_up(run, waiting, _CHANGES) + account_movements(run)
    _move(mark)
    return posted + recognise_fees(run, before=run.day_of(at))


def _take_up(run: Run, waiting: frozenset[SourceType], steps: Sequence[Step]) -> int:
    """Take the steps whose facts wait; return the entries posted."""
    return sum(account(run) for account, kinds in steps if not waiting.isdisjoint(kinds))


def _move(mark: BooksMark) -> None:
    """Set the mark to the newest facts; all of them are accounted for, and none can come in."""
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, [mark.customer_id])
        mark.through_transaction, mark.through_usage = cursor.fetchone()


def recognise_pending(
    *, by: User, at: datetime, limit: int | None = 200, rest: timedelta = timedelta(0)
) -> int:
    """Bring up to date the customers who wait; return the number of entries posted.

    Each has a transaction of their own. One who fails keeps their notes and does not hold up the
    others; notes that grow old show in "Every fact is in the books or waits in the outbox".

    Args:
        limit: Customers at most, the longest-waiting first; None: all.
        rest: Lets movements of credits gather for so long: a customer costs much the same for one
            as for hundreds. What concerns money does not wait.

    Raises:
        OlderState: the journal ends before the last sealed head outside the database; nobody is
            brought up to date.
    """
    refuse_older_state()
    return each_apart(
        customers_to_recognise(at, None, at - rest if rest else None),
        lambda customer_id: recognise_customer(customer_id=customer_id, by=by, at=at),
        step="recognise",
        limit=limit,
    )
