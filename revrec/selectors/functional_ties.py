"""Where amounts in the books' own currency disagree with rates, and with what accounts carried.

Every translated entry is worked out again from the first on: by the rates that were approved when
it was recorded, and by what the entries before it left. Closes are held against the closing rates.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import connection

from revrec.fx import Carried, Rate
from revrec.models import AccountingPeriod, PeriodStatus
from revrec.posting import About, Account, EntryKind, PostingLine
from revrec.selectors.exchange import rate_on
from revrec.selectors.revaluing import closing_day, monetary_balances, rate_for
from revrec.selectors.tieouts import Mismatch, mismatches
from revrec.translating import LIABILITIES, Holdings, key_of, translate

# Told by other figures than the day's rate, which are checked where those are.
_TOLD = (
    EntryKind.CURRENCY_REVALUED.value,
    EntryKind.BOOKS_TRANSLATED.value,
    EntryKind.BREAKAGE_TRUED_UP.value,
)
_UNBALANCED = """
SELECT 'journal_entry:' || entry_id, '0', sum(functional_minor)::text FROM posting
 WHERE functional_currency IS NOT NULL
 GROUP BY entry_id, functional_currency HAVING sum(functional_minor) <> 0 ORDER BY 1
"""
_ENTRIES = """
SELECT coalesce('customer:' || p.customer_id, 'entity:' || e.entity_id), p.currency, e.id,
       e.kind, e.effective_on, e.recorded_at, p.position, p.account_id, p.obligation_id,
       p.amount_minor, p.functional_minor, p.functional_currency
  FROM (SELECT DISTINCT customer_id, currency FROM posting
         WHERE functional_currency IS NOT NULL) x
  JOIN posting p ON p.customer_id IS NOT DISTINCT FROM x.customer_id AND p.currency = x.currency
  JOIN journal_entry e ON e.id = p.entry_id
 ORDER BY 1, p.currency, e.id, p.position
"""


def unbalanced_books() -> Iterator[Mismatch]:
    """Sum every translated entry in the currency of its books."""
    yield from mismatches(_UNBALANCED)


def untied_worths() -> Iterator[Mismatch]:
    """Work out again what every posting in a foreign currency is worth."""
    rates: dict[tuple[str, str, date, datetime], Rate | None] = {}
    with connection.cursor() as cursor:
        cursor.execute(_ENTRIES)
        rows = cursor.fetchall()
    for _, of_pile in groupby(rows, key=itemgetter(0, 1)):
        holdings: dict[str, Holdings] = defaultdict(Holdings)
        before = Holdings()  # What is not translated, which the first translation takes over.
        for _, entry in groupby(of_pile, key=itemgetter(2)):
            yield from _of_entry(list(entry), holdings, before, rates)


def untied_closing_rates() -> Iterator[Mismatch]:
    """Compare what money in foreign currencies stands at after the last close with its rates."""
    closed = AccountingPeriod.objects.filter(status=PeriodStatus.CLOSED).last()
    if closed is None or closed.closed_at is None:
        return
    on = closing_day(closed)
    for pair, balances in monetary_balances(closed).items():
        rate = rate_for(pair, balances, on, closed.closed_at)
        for account, carried in balances.items():
            worth = None if rate is None else rate.of(carried.amount_minor)
            if worth != carried.book_minor:
                whose = f"customer:{pair.customer_id}" if pair.customer_id else "nobody"
                subject = f"{whose} {account.value} in {pair.currency}"
                yield Mismatch(subject, str(worth), str(carried.book_minor))


def _of_entry(
    rows: list[tuple[Any, ...]], holdings: dict[str, Holdings], before: Holdings,
    rates: dict[tuple[str, str, date, datetime], Rate | None],
) -> Iterator[Mismatch]:  # fmt: skip
    _, currency, pk, kind, on, known_at, *_, functional = rows[0]
    if functional is None:
        _take(rows, before)
        return
    held = holdings[functional]
    if kind == EntryKind.BOOKS_TRANSLATED.value:
        _begin(rows, held, before)
    if kind in _TOLD:
        _take(rows, held)
        return
    key = currency, functional, on, known_at
    if key not in rates:
        rates[key] = rate_on(*key)
    rate = rates[key]
    if rate is None:
        yield Mismatch(f"journal_entry:{pk}", f"a rate of {currency} on {on}", "none")
        _take(rows, held)
        return
    lines = [
        PostingLine(Account(row[7]), row[9], About(currency, row[8])) for row in rows if row[9]
    ]
    told = translate(lines, held, rate)
    wanted = [*told.book_minor, *([told.difference_minor] if told.difference_minor else [])]
    found = [row[10] for row in rows]
    if wanted != found:
        yield Mismatch(f"journal_entry:{pk}", str(wanted), str(found))


def _begin(rows: list[tuple[Any, ...]], held: Holdings, before: Holdings) -> None:
    """Carry on what stood there, at what its translation made of it."""
    for key, carried in before.carried.items():
        held.move(key, carried.amount_minor, 0)
    for row in rows:
        stood = before.carried.get((row[7], row[8]))
        if row[7] in LIABILITIES and stood is not None:
            held.first[row[8]] = Carried(stood.amount_minor, row[10])


def _take(rows: list[tuple[Any, ...]], held: Holdings) -> None:
    for row in rows:
        if key := key_of(row[7], row[8]):
            held.move(key, row[9], row[10] or 0)
