"""The journal's whole hash chain recomputed, in entries a second.

The ceiling is a bare COPY out of the same rows and a plain sha256 of the same bytes: what reading
and hashing cost without framing or comparing anything. The journal is real: entries are posted by
the service, with a payment's two postings each, and are as many as VERIFY_ENTRIES says.
"""

import hashlib
import os
import time
from datetime import UTC, datetime

from django.db import connection

from benchmarks.cpu import postmaster, seconds_of
from benchmarks.setting import make_meters
from billing_project.kernel.models import User
from metering.models import Customer
from revrec.posting import About, EntryKind, payment_received
from revrec.selectors.verifying import Walk, chain_faults
from revrec.services.journal import EntryDraft, post_entries

ENTRIES = int(os.environ.get("VERIFY_ENTRIES", "400000"))
GOAL_PER_SECOND = 200_000
_AT_ONCE = 5000
_ROWS = (
    "SELECT e.*, p.start_on FROM journal_entry e"
    " JOIN accounting_period p ON p.id = e.period_id ORDER BY e.chain_position",
    "SELECT * FROM posting ORDER BY entry_id, position",
)


def run() -> None:
    """Measure, and print one line a figure."""
    [customer] = make_meters(["bench"])
    _post(customer)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE journal_entry, posting")
    roles = {"hashing": os.getpid(), "database": postmaster()}
    before, walk, begin = seconds_of(roles), Walk(), time.perf_counter()
    faults = list(chain_faults(walk))
    seconds, after = time.perf_counter() - begin, seconds_of(roles)
    if faults or walk.entry_count != ENTRIES:
        raise SystemExit(f"{len(faults)} faults in {walk.entry_count} entries")
    bare = _bare_seconds()
    rate = ENTRIES / seconds
    print(
        f"{ENTRIES:,} entries and {walk.posting_count:,} postings verified: {seconds:.1f} s,"
        f" {rate:,.0f} entries/s"
    )
    print(
        f"  COPY out and sha256 of the same rows: {ENTRIES / bare:,.0f}; ratio {bare / seconds:.0%}"
    )
    print(f"  goal: {GOAL_PER_SECOND:,}; ratio to it {rate / GOAL_PER_SECOND:.0%}")
    cpu = ", ".join(f"{role} {after[role] - before[role]:.1f}" for role in roles)
    print(f"  CPU seconds: {cpu}")


def _post(customer: Customer) -> None:
    by, at, about = User.objects.get(username="bench"), datetime.now(UTC), About("USD")
    for first in range(0, ENTRIES, _AT_ONCE):
        drafts = [
            EntryDraft(
                wanted_on=at.date(),
                kind=EntryKind.PAYMENT_RECORDED,
                description=f"Payment {number} by bank transfer",
                customer_id=customer.pk,
                lines=payment_received(1000 + number, about),
                source_key=f"payment:{number}:recorded",
            )
            for number in range(first, min(first + _AT_ONCE, ENTRIES))
        ]
        post_entries(drafts=drafts, by=by, at=at)


def _bare_seconds() -> float:
    """Read the same rows and hash them as they come."""
    begin, digest = time.perf_counter(), hashlib.sha256()
    with connection.cursor() as cursor:
        for query in _ROWS:
            with cursor.copy(f"COPY ({query}) TO STDOUT") as rows:
                for piece in rows:
                    digest.update(piece)
    return time.perf_counter() - begin
