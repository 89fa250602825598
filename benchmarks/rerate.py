"""All windows of ten million events priced again and compared with what was charged, in seconds.

Each window's quantity is held against what was rated of it, and the whole quantity that each rate
pools is priced anew and held against the sum of its charges: as `check_books` does. The ceiling
reads the same two tables once, joined, and sums them.
"""

import os
import time
from datetime import UTC, datetime, timedelta

from django.db import connection

from benchmarks.cpu import postmaster, seconds_of
from benchmarks.crowd import COMBINATIONS, last_hour, make_crowd, use
from billing_project.kernel.models import User
from credits.checks import charges_follow_rates, windows_are_rated
from credits.services.rating import rate_pending

EVENTS = int(os.environ.get("RERATE_EVENTS", "10000000"))
CUSTOMERS = int(os.environ.get("RERATE_CUSTOMERS", "1000"))
HOURS = int(os.environ.get("RERATE_HOURS", "10"))
GOAL_SECONDS = 60
_BARE = """
SELECT count(*), sum(w.quantity), sum(r.quantity), sum(r.charge)
FROM usage_window w JOIN rated_usage r ON r.window_id = w.id
"""


def run() -> None:
    """Measure, and print one line a figure."""
    make_crowd(CUSTOMERS)
    each = EVENTS // (CUSTOMERS * COMBINATIONS * HOURS)
    windows = use(CUSTOMERS, last_hour() - timedelta(hours=HOURS - 1), hours=HOURS, events=each)
    rate_pending(by=User.objects.get(username="bench"), at=datetime.now(UTC))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    roles = {"pricing": os.getpid(), "database": postmaster()}
    before, begin = seconds_of(roles), time.perf_counter()
    differences = [*windows_are_rated(), *charges_follow_rates()]
    seconds, after = time.perf_counter() - begin, seconds_of(roles)
    bare, rated = _read_bare()
    if differences or rated != windows:
        raise SystemExit(f"{len(differences)} differences; {rated} of {windows} windows rated")
    print(
        f"{windows * each:,} events in {windows:,} windows priced again: {seconds:.1f} s,"
        f" {windows / seconds:,.0f} windows/s, 0 differences"
    )
    print(f"  one read of the same windows and charges: {bare:.1f} s; ratio {bare / seconds:.0%}")
    print(f"  goal: below {GOAL_SECONDS} s; ratio to it {seconds / GOAL_SECONDS:.0%}")
    cpu = ", ".join(f"{role} {after[role] - before[role]:.1f}" for role in roles)
    print(f"  CPU seconds: {cpu}")


def _read_bare() -> tuple[float, int]:
    """Read and join both tables once; return seconds and rows."""
    begin = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(_BARE)
        count: int = cursor.fetchone()[0]
    return time.perf_counter() - begin, count
