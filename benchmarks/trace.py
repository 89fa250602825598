"""Traces over HTTP from events, ledger transactions and journal entries, at a fixed rate.

An open loop over a store of events that are rated and in the books; TRACE_EVENTS=20000000 is the
size that the goal speaks of. Beside it /healthz of the same server at that rate.
"""

import os
import random
from datetime import UTC, datetime, timedelta

from django.db import connection

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
RATE = int(os.environ.get("TRACE_RATE", "3"))  # Requests a second.
SECONDS = int(os.environ.get("TRACE_SECONDS", "20"))
GOAL_MILLISECONDS = 200
_SIZE, _AT_ONCE, _HOURS, _ALL = 1_000, 1_000, 9 * 24, 10**9
_STARTS = 200
_IDENTITIES = """
INSERT INTO event_identity (customer_id, identifier, content_sha256, event_id, "timestamp")
SELECT customer_id, identifier, sha256(identifier::bytea), id, "timestamp" FROM meter_event
"""


def run() -> None:
    """Measure, and print one line a figure."""
    make_market([f"c-{number}" for number in range(1, CUSTOMERS + 1)])
    _fill_books()
    key = create_api_key(name="bench", scopes=["usage:read"], at=datetime.now(UTC))[1]
    with processes.running(
        processes.server_command(PORT), "bench-server", processes.server_environment(PORT)
    ) as server:
        processes.wait_until_ready(server, PORT)
        for kind, names in _starts().items():
            asked = [request("GET", f"/v1/trace?{kind}={name}", key) for name in names]
            ask(asked, RATE, 3)
            taken = ask(asked, RATE, SECONDS)
            print(f"{kind} at {RATE} requests/s, {EVENTS:,} events: {words(taken)}")
            ratio = quantile(taken, 99) * 1000 / GOAL_MILLISECONDS
            print(f"  ratio to the goal of {GOAL_MILLISECONDS} ms: {ratio:.0%}")
        nothing = ask([request("GET", "/healthz", key)], RATE, SECONDS)
    print(f"  /healthz of the same server at that rate: {words(nothing)}")


def _fill_books() -> None:
    at = datetime.now(UTC)
    start = hour_of(at) - timedelta(hours=_HOURS)
    for first in range(0, EVENTS // _SIZE, _AT_ONCE):
        count = min(_AT_ONCE, EVENTS // _SIZE - first)
        fill(batches=count, size=_SIZE, customers=CUSTOMERS, start=start, hours=_HOURS)
    with connection.cursor() as cursor:
        cursor.execute(_IDENTITIES)
    aggregate_batches(at=at, limit=_ALL)
    by = User.objects.get(username="bench")
    rate_pending(by=by, at=at, limit=_ALL)
    recognise_pending(by=by, at=at, limit=None)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


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
