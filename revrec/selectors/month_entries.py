"""What a month of the books holds: its entries by kind with their sums, and a page at a time.

Pages go by kind, then by id, along an index: one costs the same wherever it is. The sums read the
month once; amounts are those that a trace shows of each entry, so that pages add up to them.
"""

from dataclasses import dataclass

from django.db import connection

from billing_project.kernel.errors import NotFound
from revrec.models import AccountingPeriod, JournalEntry

# An entry is in one currency; where it takes revenue back, its amount is negative.
_TOTALS = """
SELECT kind, currency, count(*), sum(CASE WHEN revenue > 0 THEN -debit ELSE debit END)::bigint
  FROM (SELECT e.id, e.kind, min(p.currency) AS currency,
               coalesce(sum(p.amount_minor) FILTER (WHERE p.amount_minor > 0), 0) AS debit,
               coalesce(sum(p.amount_minor) FILTER (WHERE p.account_id LIKE '4%%'), 0) AS revenue
          FROM journal_entry e JOIN posting p ON p.entry_id = e.id
         WHERE e.period_id = %s GROUP BY e.id) moved
 GROUP BY kind, currency ORDER BY kind, currency
"""


@dataclass(frozen=True)
class KindTotal:
    """The entries of one kind and currency in a month."""

    kind: str
    currency: str
    entry_count: int
    amount_minor: int


def totals_by_kind(period: AccountingPeriod) -> list[KindTotal]:
    """Return how many entries of each kind a month has, and what they come to."""
    with connection.cursor() as cursor:
        cursor.execute(_TOTALS, [period.pk])
        return [KindTotal(*row) for row in cursor.fetchall()]


def entries_of_month(
    period: AccountingPeriod, *, kind: str = "", after_id: int | None = None, limit: int
) -> list[JournalEntry]:
    """Return a page of a month's entries, by kind, then by id.

    Args:
        kind: Of this kind alone.
        after_id: The last entry of the page before.

    Raises:
        NotFound: the month has no entry with that id.
    """
    entries = JournalEntry.objects.filter(period=period).order_by("kind", "pk")
    if kind:
        entries = entries.filter(kind=kind)
    if after_id is None:
        return list(entries[:limit])
    last = entries.filter(pk=after_id).first()
    if last is None:
        raise NotFound(f"{period} has no such entry {after_id}")
    found = list(entries.filter(kind=last.kind, pk__gt=last.pk)[:limit])
    if len(found) < limit:  # Asked apart, so that each follows the index.
        found += entries.filter(kind__gt=last.kind)[: limit - len(found)]
    return found
