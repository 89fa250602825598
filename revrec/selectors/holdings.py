"""What the journal carries of foreign currencies, in them and in those of the books."""

from collections.abc import Collection
from dataclasses import dataclass

from django.db import connection

from revrec.fx import Carried
from revrec.translating import Holdings, key_of

_SUMS = """
SELECT account_id, obligation_id, sum(amount_minor)::bigint,
       coalesce(sum(functional_minor), 0)::bigint, count(functional_currency), count(*)
  FROM posting
 WHERE customer_id = %(customer)s AND currency = %(currency)s
   AND (functional_currency IS NULL OR functional_currency = %(functional)s)
 GROUP BY account_id, obligation_id
"""
# What is nobody's is carried by entity, from when its books had a currency of their own.
_SUMS_OF_NOBODY = """
SELECT p.account_id, p.obligation_id, sum(p.amount_minor)::bigint, sum(p.functional_minor)::bigint,
       count(*), count(*)
  FROM posting p JOIN journal_entry e ON e.id = p.entry_id AND e.entity_id = %(entity)s
 WHERE p.customer_id IS NULL AND p.currency = %(currency)s
   AND p.functional_currency = %(functional)s
 GROUP BY p.account_id, p.obligation_id
"""
# The posting that first put a promise's liability into the books' currency: what stands there then
# was sold in that entry, or, where the books were translated only later, all that was left.
_FIRST = """
SELECT DISTINCT ON (p.obligation_id) p.obligation_id,
       CASE WHEN p.amount_minor <> 0 THEN p.amount_minor ELSE (
           SELECT sum(x.amount_minor) FROM posting x JOIN journal_entry y ON y.id = x.entry_id
            WHERE x.obligation_id = p.obligation_id AND x.account_id = p.account_id
              AND y.id <= e.id) END::bigint, p.functional_minor
  FROM posting p JOIN journal_entry e ON e.id = p.entry_id
 WHERE p.obligation_id = ANY(%(obligations)s) AND p.account_id IN ('2100', '2120')
   AND p.functional_currency = %(functional)s
 ORDER BY p.obligation_id, e.id, p.position
"""


@dataclass(frozen=True)
class Balance:
    """One account of a customer in one currency, promise by promise; debit positive."""

    account: str
    obligation_id: int | None
    amount_minor: int


@dataclass(frozen=True)
class Pile:
    """All that is carried of one customer in one currency, as translation begins from it.

    `untranslated` is what stands there from before the books had a currency of their own; nothing
    where they were translated since.
    """

    holdings: Holdings
    untranslated: tuple[Balance, ...]


@dataclass(frozen=True)
class Whose:
    """Whose amounts are carried, in which currency, for books in which.

    `entity_id` says in whose books stands what is nobody's; None for a customer's.
    """

    customer_id: int | None
    entity_id: int | None
    currency: str
    functional: str


def pile_of(whose: Whose, obligations: Collection[int]) -> Pile:
    """Read what is carried, and the first rates of these promises."""
    functional = whose.functional
    said = {
        "customer": whose.customer_id, "entity": whose.entity_id, "currency": whose.currency,
        "functional": functional,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_SUMS if whose.customer_id else _SUMS_OF_NOBODY, said)
        rows = cursor.fetchall()
        cursor.execute(_FIRST, {"obligations": list(obligations), "functional": functional})
        first = {pk: Carried(amount, book) for pk, amount, book in cursor.fetchall() if amount}
    holdings = Holdings(first=first)
    for account, obligation_id, amount, book, _, _ in rows:
        if key := key_of(account, obligation_id):
            holdings.move(key, amount, book)
    is_translated = any(translated for *_, translated, _ in rows)
    left = () if is_translated else tuple(Balance(*row[:3]) for row in rows if row[2])
    return Pile(holdings, left)
