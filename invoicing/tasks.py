"""What the scheduler calls; each is safe to run twice at once and finds what is due by itself."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, timedelta

from billing_project.kernel import clock
from billing_project.kernel.sessions import held
from billing_project.kernel.users import worker_user
from credits.models import ControlCheckpoint
from credits.services.anomalies import detect_anomalies
from credits.services.checkpoints import prepare_checkpoint
from invoicing.models import MIRRORED
from invoicing.selectors.credit_price import credit_price_at
from invoicing.services import opening
from invoicing.services.backfill_work import ring_worker, work_on_backfills
from invoicing.services.closing import close_quiet_periods
from invoicing.services.deciding import settle_proposals
from invoicing.services.disputes import freeze_disputed
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.mails import send_due_mails
from invoicing.services.proposals import follow_overcharges
from invoicing.services.recharging import recharge_due
from invoicing.services.seats import settle_due_seats
from invoicing.services.subscriptions import renew_due
from invoicing.services.thresholds import invoice_reached
from invoicing.stripe_sync import gateway, mirroring
from invoicing.stripe_sync.collecting import open_attempts
from invoicing.stripe_sync.dunning import mail_declines
from invoicing.stripe_sync.mirroring import ask_for_mirror
from invoicing.stripe_sync.reconciling import SETTLING, reconcile
from invoicing.stripe_sync.refunding import open_refunds
from invoicing.stripe_sync.sending import send_due
from metering.services.backfill_runs import open_run_ids

log = logging.getLogger(__name__)
_RECONCILED = timedelta(days=35)
_MIRRORED, _MIRRORED_A_SECOND = 10_000, 500  # Calls in a run; Stripe takes 1,000 a second.
_MIRROR_SECONDS = 45  # Of a run: other work of the calendar waits for its worker.
_MAIL_SECONDS = 45  # Of sending in a run.
_BACKFILL_SECONDS = 45  # Of reading files in a run; what changes usage is one transaction.


def renew() -> int:
    """Open the periods of subscriptions that began."""
    return renew_due(by=worker_user(), at=clock.now())


def settle_seats() -> int:
    """Charge or credit the changes of seats whose instant has come."""
    return settle_due_seats(at=clock.now())


def draft_overage() -> int:
    """Draft the overage of periods that ended."""
    return draft_overage_invoices(by=worker_user(), at=clock.now())


def invoice_thresholds() -> int:
    """Invoice running periods whose overage has reached their plan's threshold."""
    return invoice_reached(by=worker_user(), at=clock.now())


def finalize() -> int:
    """Issue the drafts whose grace is over."""
    return finalize_due(by=worker_user(), at=clock.now())


def bill_backwards() -> int:
    """Draft and issue from the other end while another worker begins at this one."""
    by, at = worker_user(), clock.now()
    drafted = draft_overage_invoices(by=by, at=at, backwards=True)
    return drafted + finalize_due(by=by, at=at, backwards=True)


def close_quiet() -> int:
    """Close the usage of periods that ended with nothing to claim."""
    return close_quiet_periods(at=clock.now())


def propose_notes() -> int:
    """Issue the credit notes that were approved, and propose those that are due."""
    by, at = worker_user(), clock.now()
    return settle_proposals(by=by, at=at) + follow_overcharges(by=by, at=at)


def apply_openings() -> int:
    """Let approved opening balances take effect; return how many items did."""
    return opening.apply_openings(by=worker_user(), at=clock.now())


def recharge() -> int:
    """Fill the balances that fell below what their customers agreed to; return how many."""
    return recharge_due(by=worker_user(), at=clock.now())


def freeze() -> int:
    """Freeze what came back of purchases that are disputed; return how many grants."""
    return freeze_disputed(by=worker_user(), at=clock.now())


def collect() -> int:
    """Collect through Stripe what is owed, and refund what is due; return the calls settled."""
    if not gateway.is_on():
        return 0
    by, at = worker_user(), clock.now()
    open_attempts(by=by, at=at)
    open_refunds(by=by, at=at)
    settled = send_due(by=by, now=clock.now)
    mail_declines(by=by, at=clock.now())
    return settled


def mirror() -> int:
    """Tell Stripe what was used, granted and invoiced, where that is on; return the calls settled.

    One worker at a time: the pace is the account's, and nobody tells of one meter beside another.
    """
    if not mirroring.is_on():
        return 0
    by, end = worker_user(), time.monotonic() + _MIRROR_SECONDS
    with held("stripe_mirror") as is_ours:
        if not is_ours:
            return 0
        ask_for_mirror(by=by, at=clock.now(), is_over=lambda: time.monotonic() > end)
        return send_due(
            by=by, now=clock.now, kinds=MIRRORED, limit=_MIRRORED, pace=pace(_MIRRORED_A_SECOND),
            is_over=lambda: time.monotonic() > end + _MIRROR_SECONDS,
        )  # fmt: skip


def pace(most: int) -> Callable[[], None]:
    """Return what waits before a call, so that no second sees more of them than that."""
    sent: Counter[int] = Counter()

    def wait() -> None:
        second = int(time.monotonic())
        while sent[second] >= most:
            time.sleep(1)
            second = int(time.monotonic())
        sent[second] += 1

    return wait


def send_mails() -> int:
    """Send the invoices that wait for a mail; return how many went out."""
    end = time.monotonic() + _MAIL_SECONDS
    return send_due_mails(by=worker_user(), now=clock.now, is_over=lambda: time.monotonic() > end)


def reconcile_days() -> int:
    """Compare the last 35 days with Stripe; return how many differences there are."""
    if not gateway.is_on():
        return 0
    at = clock.now()
    done = reconcile(since=at - _RECONCILED, until=at - SETTLING, at=at)
    for one in done.found:
        log.error("stripe_difference", extra={"kind": one.kind, "subject": one.subject})
    return len(done.found)


def work_backfills() -> int:
    """Do what was asked for on backfills; return how many runs. Two at once share none."""
    end = time.monotonic() + _BACKFILL_SECONDS
    done = work_on_backfills(now=clock.now, is_over=lambda: time.monotonic() > end)
    if done and open_run_ids(clock.now()):
        ring_worker()
    return done


def ring_backfills() -> int:
    """Find work on backfills that waits and whose ring was lost; a ring has a timeout of its own.

    Returns the runs that wait.
    """
    waiting = len(open_run_ids(clock.now()))
    if waiting:
        ring_worker()
    return waiting


def look_for_anomalies() -> int:
    """Look at the last full hour of every customer; return how many anomalies are new."""
    return detect_anomalies(price_of=credit_price_at, at=clock.now())


def prepare_checkpoints() -> int:
    """Write down each week that has ended since the last one; return how many those were.

    The first is the last week; one that nobody wrote down, because the worker stood still, follows.
    """
    at = clock.now()
    today = at.astimezone(UTC).date()
    last_on = today - timedelta(days=today.weekday() + 7)
    known = ControlCheckpoint.objects.order_by("start_on").last()
    start_on, done = (known.end_on if known else last_on), 0
    while start_on <= last_on:
        prepare_checkpoint(start_on=start_on, price_of=credit_price_at, by=worker_user(), at=at)
        start_on, done = start_on + timedelta(days=7), done + 1
    return done
