"""Many customers' usage rated and drawn, windows a second, beside a bare COPY of the same rows.

5,000 customers used twelve combinations of meter and model in one hour; each has four grants, and
some use more than those. One worker rates all of it. The ceiling copies the rows that came of it
into tables with the same keys and indexes, and nothing that guards or follows them.
"""

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from django.db import connection, transaction

from benchmarks.cpu import postmaster, seconds_of
from benchmarks.crowd import COMBINATIONS, last_hour, make_crowd, use
from billing_project.kernel.models import User
from credits.services.rating import rate_pending

CUSTOMERS = int(os.environ.get("RATING_CUSTOMERS", "5000"))
GOAL_SECONDS = 30
_TABLES = ("rated_usage", "ledger_transaction")


def run() -> None:
    """Measure, and print one line a figure."""
    make_crowd(CUSTOMERS)
    windows = use(CUSTOMERS, last_hour(), hours=1)
    roles = {"rating": os.getpid(), "database": postmaster()}
    before, begin = seconds_of(roles), time.perf_counter()
    rate_pending(by=User.objects.get(username="bench"), at=datetime.now(UTC))
    seconds, after = time.perf_counter() - begin, seconds_of(roles)
    drawn, overage = _check(windows)
    bare = _copy_bare()
    print(
        f"{CUSTOMERS:,} customers x {COMBINATIONS} combinations rated and drawn: {seconds:.1f} s,"
        f" {windows / seconds:,.0f} windows/s ({drawn:.0%} drawn, {overage:.0%} overage)"
    )
    print(f"  bare COPY of the same rows, same keys: {bare:.1f} s; ratio {bare / seconds:.0%}")
    print(f"  goal: below {GOAL_SECONDS} s; ratio to it {seconds / GOAL_SECONDS:.0%}")
    print(
        "  CPU seconds: " + ", ".join(f"{role} {after[role] - before[role]:.1f}" for role in roles)
    )


def _check(windows: int) -> tuple[Decimal, Decimal]:
    """Refuse figures of a run that left or doubled anything; return what part was drawn."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(DISTINCT window_id), sum(charge), sum(drawn), sum(overage)"
            " FROM rated_usage"
        )
        rows, distinct, charge, drawn, overage = cursor.fetchone()
        cursor.execute("SELECT -sum(credits) FROM ledger_transaction WHERE kind = 'drawn'")
        entered = cursor.fetchone()[0]
    if (rows, distinct) != (windows, windows) or entered != drawn:
        raise SystemExit(
            f"{rows} rows for {windows} windows; drawn {drawn}, in the ledger {entered}"
        )
    return drawn / charge, overage / charge


def _copy_bare() -> float:
    """COPY what was written into tables with the same keys; return seconds."""
    kept = [(table, _read(table)) for table in _TABLES]
    with connection.cursor() as cursor:
        for table, _ in kept:
            cursor.execute(f"CREATE TABLE bench_{table} (LIKE {table} INCLUDING ALL)")
        cursor.execute("CHECKPOINT")
    begin = time.perf_counter()
    with transaction.atomic(), connection.cursor() as cursor:
        for table, blocks in kept:
            with cursor.copy(f"COPY bench_{table} FROM STDIN") as copy:
                for block in blocks:
                    copy.write(block)
    return time.perf_counter() - begin


def _read(table: str) -> Sequence[bytes]:
    where = "WHERE rated_usage_id IS NOT NULL" if table == "ledger_transaction" else ""
    read = f"COPY (SELECT * FROM {table} {where} ORDER BY id) TO STDOUT"
    with connection.cursor() as cursor, cursor.copy(read) as copy:
        return [bytes(block) for block in copy]
