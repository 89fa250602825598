"""Traces over HTTP from events, ledger transactions and journal entries, at a fixed rate.

An open loop over a store of events that are rated and in the books; TRACE_EVENTS=20000000 is the
size that the goal speaks of. Events are written in bulk as capture leaves them; all that follows is
made by the services that make it every day, in TRACE_ROUNDS turns, so that a window is rated again
as it grows. Few customers make long entries: two of them with 20 million have a million events
behind a day's entry. Beside it /healthz of the same server at that rate, and the CPU of a request
in server and database, which says more than the clock where others work on both cores.
TRACE_KEEP=1 measures again on the store that the last run left.
"""

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.db import connection

from benchmarks.cpu import postmaster, seconds_of
from benchmarks.filling import fill
from benchmarks.open_loop import ask, quantile, request, words
from benchmarks.setting import make_market
from benchmarks.traffic import PORT
from billing_project.console import processes
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from billing_project.kernel.period import hour_of
from credits.models import LedgerKind, LedgerTransaction
from credits.services.rating import rate_pending
from metering.services.aggregate import aggregate_batches
from revrec.models import JournalEntry
from revrec.services.recognise import recognise_pending

EVENTS = int(os.environ.get("TRACE_EVENTS", "200000"))
CUSTOMERS = int(os.environ.get("TRACE_CUSTOMERS", "20"))
ROUNDS = int(os.environ.get("TRACE_ROUNDS", "2"))
RATE = int(os.environ.get("TRACE_RATE", "3"))  # Requests a second.
SECONDS = int(os.environ.get("TRACE_SECONDS", "20"))
GOAL_MILLISECONDS = 200
KEEP = bool(os.environ.get("TRACE_KEEP"))
_SIZE, _AT_ONCE, _HOURS, _ALL = 1_000, 500, 9 * 24, 10**9
_STARTS = 200
_IDENTITIES = """
INSERT INTO event_identity (customer_id, identifier, content_sha256, event_id, "timestamp")
SELECT customer_id, identifier, sha256(identifier::bytea), id, "timestamp" FROM meter_event
 WHERE id BETWEEN %s AND %s
"""
_BEHIND = """
SELECT max(events), percentile_disc(0.5) WITHIN GROUP (ORDER BY events) FROM (
    SELECT sum(w.event_count) AS events FROM (
        SELECT DISTINCT s.entry_id, u.window_id
          FROM entry_source s JOIN journal_entry e ON e.id = s.entry_id AND e.kind = 'credits_used'
          JOIN ledger_transaction l ON l.id = s.source_id AND s.source_type = 'ledger_transaction'
          JOIN rated_usage u ON u.id = l.rated_usage_id) p
      JOIN usage_window w ON w.id = p.window_id GROUP BY p.entry_id) counted
"""


def run() -> None:
    """Measure, and print one line a figure."""
    if not KEEP:
        make_market([f"c-{number}" for number in range(1, CUSTOMERS + 1)])
        _fill_books()
    _tell_size()
    key = create_api_key(name="bench", scopes=["usage:read"], at=datetime.now(UTC))[1]
    with processes.running(
        processes.server_command(PORT), "bench-server", processes.server_environment(PORT)
    ) as server:
        processes.wait_until_ready(server, PORT)
        roles = {"server": server.pid, "postgres": postmaster()}
        for kind, names in _starts().items():
            asked = [request("GET", f"/v1/trace?{kind}={name}", key) for name in names]
            ask(asked, RATE, 3)
            before = seconds_of(roles)
            taken = ask(asked, RATE, SECONDS)
            used = sum(seconds_of(roles).values()) - sum(before.values())
            print(f"{kind} at {RATE} requests/s: {words(taken)}")
            print(f"  CPU of one: {used * 1000 / len(taken):.0f} ms")
            ratio = quantile(taken, 99) * 1000 / GOAL_MILLISECONDS
            print(f"  ratio to the goal of {GOAL_MILLISECONDS} ms: {ratio:.0%}")
        nothing = ask([request("GET", "/healthz", key)], RATE, SECONDS)
    print(f"  /healthz of the same server at that rate: {words(nothing)}")


def _fill_books() -> None:
    at = datetime.now(UTC)
    start = hour_of(at) - timedelta(hours=_HOURS)
    by, batches = User.objects.get(username="bench"), EVENTS // _SIZE
    for turn in range(ROUNDS):
        count = batches * (turn + 1) // ROUNDS - batches * turn // ROUNDS
        _timed("events stored", lambda count=count: _store(count, start))  # type: ignore[misc]
        now = datetime.now(UTC)
        _timed("aggregated", lambda now=now: aggregate_batches(at=now, limit=_ALL))  # type: ignore[misc]
        _timed("rated", lambda now=now: rate_pending(by=by, at=now, limit=_ALL))  # type: ignore[misc]
        _timed("in the books", lambda now=now: recognise_pending(by=by, at=now, limit=None))  # type: ignore[misc]
    with connection.cursor() as cursor:
        _timed("vacuumed", lambda: cursor.execute("VACUUM ANALYZE"))


def _tell_size() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(event_count) FROM event_batch")
        events = cursor.fetchone()[0]
        cursor.execute(_BEHIND)
        most, usual = cursor.fetchone()
    print(
        f"{events:,} events; behind a day's entry, once for each meter: {usual:,} usually,"
        f" {most:,} at most",
        flush=True,
    )


def _timed(what: str, work: Callable[[], object]) -> None:
    begin = time.perf_counter()
    work()
    print(f"  {what}: {time.perf_counter() - begin:.0f} s", flush=True)


def _store(batches: int, start: datetime) -> None:
    """Store events with their identities, half a million in a transaction."""
    for first in range(0, batches, _AT_ONCE):
        count = min(_AT_ONCE, batches - first)
        fill(batches=count, size=_SIZE, customers=CUSTOMERS, start=start, hours=_HOURS)
        with connection.cursor() as cursor:
            cursor.execute("SELECT max(last_event_id) FROM event_batch")
            last = cursor.fetchone()[0]
            cursor.execute(_IDENTITIES, [last - count * _SIZE + 1, last])


def _starts() -> dict[str, list[str]]:
    """Choose what traces start from, by chance and always the same."""
    chance = random.Random(20_261_130)
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(id), max(id) FROM meter_event")
        first, last = cursor.fetchone()
        ids = [chance.randint(first, last) for _ in range(_STARTS)]
        cursor.execute(
            "SELECT c.external_id || '/' || e.identifier FROM meter_event e"
            " JOIN customer c ON c.id = e.customer_id WHERE e.id = ANY(%s)",
            [ids],
        )
        events = [name for (name,) in cursor.fetchall()]
    drawn = LedgerTransaction.objects.filter(kind=LedgerKind.DRAWN).values_list("pk", flat=True)
    entries = JournalEntry.objects.filter(kind="credits_used").values_list("pk", flat=True)
    return {
        "event": events,
        "ledger_transaction": [f"{pk}" for pk in chance.choices(list(drawn), k=_STARTS)],
        "journal_entry": [f"{pk}" for pk in chance.choices(list(entries), k=_STARTS)],
    }
