"""What a journal entry is made of, a page at a time: its facts, each with its share of the amount.

An entry over a day's usage rounds once, from the total before it to the total after it. Its facts
share that amount by what each of them cost, cumulatively, so that the shares sum to it exactly,
however many there are. A fact behind which usage stands leads on to its window and its events.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Min, Q, Sum

from billing_project.kernel.errors import NotFound
from credits.models import LedgerTransaction, RatedUsage
from metering.models import UsageWindow
from revrec.models import JournalEntry

_MAX_DIGITS = 18  # Fits bigint.

# Facts by the order in which they were accounted for; `part` telescopes: the last one completes.
# What weighs nothing in sum is carried by the last fact alone.
_PARTS = """
WITH weighed AS (
    SELECT s.id, s.source_type, s.source_id, s.role, u.window_id, u.quantity, u.service_at,
           CASE s.source_type WHEN 'ledger_transaction' THEN l.credits
                WHEN 'rated_usage' THEN u.overage END AS credits,
           CASE s.source_type WHEN 'ledger_transaction' THEN l.cost_unrounded
                WHEN 'rated_usage' THEN u.overage ELSE 0 END AS weight
      FROM entry_source s
      LEFT JOIN ledger_transaction l
        ON s.source_type = 'ledger_transaction' AND l.id = s.source_id
      LEFT JOIN rated_usage u ON u.id = CASE s.source_type
           WHEN 'ledger_transaction' THEN l.rated_usage_id WHEN 'rated_usage' THEN s.source_id END
     WHERE s.entry_id = %(entry)s
), summed AS (
    SELECT w.*, sum(weight) OVER (ORDER BY id) AS through, sum(weight) OVER () AS whole,
           count(*) OVER () AS of, row_number() OVER (ORDER BY id) AS number
      FROM weighed w
), through AS (
    SELECT s.*, CASE WHEN number = of THEN %(amount)s
                     WHEN whole = 0 THEN 0
                     ELSE round(%(amount)s * through / whole) END::bigint AS total_minor
      FROM summed s
)
SELECT t.id, t.source_type, t.source_id, t.role, t.credits, t.quantity, t.service_at,
       t.total_minor - lag(t.total_minor, 1, 0::bigint) OVER (ORDER BY t.id) AS part_minor,
       t.total_minor, t.of,
       t.window_id, w.event_count, w.dimensions, m.code, m.unit
  FROM (SELECT * FROM through) t
  LEFT JOIN usage_window w ON w.id = t.window_id LEFT JOIN meter m ON m.id = w.meter_id
"""
_PAGE = f"SELECT * FROM ({_PARTS}) p WHERE p.id > %(after)s ORDER BY p.id LIMIT %(limit)s"  # noqa: S608


@dataclass(frozen=True)
class Window:
    """The usage window behind a part; its events are all that count in it."""

    id: int
    meter: str
    unit: str
    dimensions: Mapping[str, object]
    event_count: int


@dataclass(frozen=True)
class Part:
    """One fact of an entry, and its share."""

    id: int
    fact: str  # "ledger_transaction:55"
    role: str
    credits: Decimal | None
    quantity: Decimal | None  # Of usage, in its meter's unit.
    service_at: datetime | None
    amount_minor: int
    total_minor: int  # Of all parts through this one.
    window: Window | None


@dataclass(frozen=True)
class Parts:
    """A page of an entry's parts, and what all of them come to."""

    amount_minor: int
    currency: str
    count: int
    rows: tuple[Part, ...]


def entry_amount(entry: JournalEntry) -> tuple[int, str]:
    """Return what an entry moves, as its lineage shows it: negative where it takes revenue back."""
    sums = entry.postings.aggregate(
        debit=Sum("amount_minor", filter=Q(amount_minor__gt=0)),
        revenue=Sum("amount_minor", filter=Q(account__code__startswith="4")),
        currency=Min("currency"),
    )
    debit = sums["debit"] or 0  # A difference of exchange alone moves no amount of its own.
    return (-debit if (sums["revenue"] or 0) > 0 else debit), sums["currency"]


def parts_of_entry(entry: JournalEntry, *, after_id: int = 0, limit: int) -> Parts:
    """Return a page of an entry's parts, in the order in which they were accounted for.

    Args:
        after_id: The id of the last part of the page before.
    """
    amount, currency = entry_amount(entry)
    words = {"entry": entry.pk, "amount": amount, "after": after_id, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(_PAGE, words)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    count = rows[0]["of"] if rows else entry.sources.count()
    return Parts(amount, currency, count, tuple(map(_part, rows)))


def window_of_part(entry: JournalEntry, fact: str) -> tuple[UsageWindow, RatedUsage]:
    """Return the usage window behind one fact of an entry, and its rating that the fact is of.

    Args:
        fact: As a part names it, "ledger_transaction:55".

    Raises:
        NotFound: the entry does not account for it, or no usage stands behind it.
    """
    kind, _, number = fact.partition(":")
    is_number = number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS
    rated = None
    if is_number and entry.sources.filter(source_type=kind, source_id=int(number)).exists():
        rows = RatedUsage.objects.select_related("window__meter")
        if kind == "ledger_transaction":
            rated = rows.filter(
                pk__in=LedgerTransaction.objects.filter(pk=int(number)).values("rated_usage_id")
            ).first()
        elif kind == "rated_usage":
            rated = rows.filter(pk=int(number)).first()
    if rated is None:
        raise NotFound(f"{entry} has no part {fact[:60]} with usage behind it")
    return rated.window, rated


def _part(row: Mapping[str, Any]) -> Part:
    window = None
    if row["window_id"] is not None:
        dimensions = json.loads(row["dimensions"])  # A bare cursor answers text.
        window = Window(row["window_id"], row["code"], row["unit"], dimensions, row["event_count"])
    return Part(
        row["id"],
        f"{row['source_type']}:{row['source_id']}",
        row["role"],
        row["credits"],
        row["quantity"],
        row["service_at"],
        row["part_minor"],
        row["total_minor"],
        window,
    )
