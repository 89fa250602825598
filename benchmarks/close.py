"""A month with a million movements of credits, closed by two people, beside its bare reading.

Usage windows are written as aggregation leaves them and rated by the service; nothing is in the
books before. Measured is what a close does: it brings all of it into the books, customer by
customer, ties every promise and customer, stores the trial balance and seals the chains. The
ceiling reads the month's movements, sums them by promise and day, and writes as many rows of the
journal and its sources into bare tables with the same keys.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from django.db import connection
from django.test import override_settings

from benchmarks.cpu import postmaster, seconds_of
from benchmarks.crowd import COMBINATIONS, make_crowd, use
from billing_project.kernel.models import User
from billing_project.kernel.period import Period, midnight, month_of
from billing_project.kernel.users import worker_user
from credits.models import LedgerKind, LedgerTransaction
from credits.services.rating import rate_pending
from revrec.models import AccountingPeriod, EntrySource, JournalEntry, PeriodStatus
from revrec.services import periods
from revrec.services.sealing import make_sealing_key

TRANSACTIONS = int(os.environ.get("CLOSE_TRANSACTIONS", "1000000"))
CUSTOMERS = int(os.environ.get("CLOSE_CUSTOMERS", "2000"))
GOAL_SECONDS = 180
_DAYS = 14  # Of the month in which the credits are used.
# Steps of a close, as they are called where they are called.
_STEPS = {
    "_catch_up": "books brought up to date",
    "_recognise_all": "recognised again under the lock",
    "true_up": "estimates",
    "revalue": "revaluation",
    "close_checklist": "checklist and ties",
    "signed_balance": "trial balance",
    "seal_period": "seal",
}
_BARE = """
CREATE TABLE bench_entry (LIKE journal_entry INCLUDING ALL);
CREATE TABLE bench_posting (LIKE posting INCLUDING ALL);
CREATE TABLE bench_source (LIKE entry_source INCLUDING ALL);
INSERT INTO bench_entry SELECT * FROM journal_entry;
INSERT INTO bench_posting SELECT * FROM posting;
INSERT INTO bench_source SELECT * FROM entry_source;
CREATE TABLE bench_sum AS
SELECT grant_id, (effective_at AT TIME ZONE 'UTC')::date AS day, sum(credits) AS credits
  FROM ledger_transaction GROUP BY 1, 2;
"""


def run() -> None:
    """Measure, and print one line a figure."""
    month = _use_much()
    count = LedgerTransaction.objects.exclude(kind=LedgerKind.GRANTED).count()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
    roles = {"close": os.getpid(), "database": postmaster()}
    before, begin = seconds_of(roles), time.perf_counter()
    with TemporaryDirectory() as folder, _timed() as steps, _own_key(folder):
        closed = _close(month)
    seconds, after = time.perf_counter() - begin, seconds_of(roles)
    if closed.status != PeriodStatus.CLOSED or closed.seal.head_position != _entries():
        raise SystemExit(f"{closed} is {closed.status} over {_entries()} entries")
    _tell(count, seconds, steps)
    print(
        "  CPU seconds: " + ", ".join(f"{role} {after[role] - before[role]:.1f}" for role in roles)
    )


def _tell(count: int, seconds: float, steps: Mapping[str, float]) -> None:
    bare = _bare_seconds()
    print(
        f"{count:,} movements of {CUSTOMERS:,} customers closed: {seconds:.1f} s"
        f" ({_entries():,} entries, {EntrySource.objects.count():,} sources)"
    )
    for name, words in _STEPS.items():
        print(f"  {words}: {steps[name]:.1f} s")
    print(f"  the same rows written bare: {bare:.1f} s; ratio {bare / seconds:.0%}")
    print(f"  goal: below {GOAL_SECONDS} s; ratio to it {seconds / GOAL_SECONDS:.0%}")


def _use_much() -> Period:
    """Let customers use credits in a month, and rate what they used; return the month."""
    hours = max(1, TRANSACTIONS // (CUSTOMERS * COMBINATIONS))
    period = make_crowd(CUSTOMERS, paid=10**6)
    first, end = month_of((period.start + timedelta(days=15)).date())
    start = max(period.start, midnight(first))
    use(CUSTOMERS, start, hours, every=max(1, _DAYS * 24 // hours))
    rate_pending(by=User.objects.get(username="bench"), at=datetime.now(UTC), limit=10**9)
    return Period(midnight(first), midnight(end))


def _close(month: Period) -> AccountingPeriod:
    at = max(datetime.now(UTC), month.end)
    proposer = User.objects.create_user("proposer", is_service=True)
    period = periods.ensure_period(month.start.date())
    periods.propose_close(period=period, by=proposer, at=at)
    return periods.close_period(period=period, by=worker_user(), at=at)


def _entries() -> int:
    return JournalEntry.objects.count()


@contextmanager
def _own_key(folder: str) -> Iterator[None]:
    """Seal with a key of the benchmark's own, and leave no seal behind."""
    with override_settings(SEALING_KEY_FILE=f"{folder}/key.pem", SEALS_DIR=folder):
        make_sealing_key()
        yield


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    """Add up the seconds of each step."""
    seconds = dict.fromkeys(_STEPS, 0.0)

    def around(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                seconds[name] += time.perf_counter() - begin

        return timed

    with ExitStack() as stack:
        for name in _STEPS:
            stack.enter_context(patch.object(periods, name, around(name, getattr(periods, name))))
        yield seconds


def _bare_seconds() -> float:
    begin = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(_BARE)
    return time.perf_counter() - begin
