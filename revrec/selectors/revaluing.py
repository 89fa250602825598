"""Money in foreign currencies at a month's end: what it stands at, and what it is worth."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime

from django.db import connection

from billing_project.kernel.period import DAY
from revrec.fx import Carried, Rate, required
from revrec.models import AccountingPeriod
from revrec.posting import Account
from revrec.selectors.exchange import rate_on
from revrec.selectors.holdings import Whose
from revrec.translating import MONETARY

# What was ever translated is carried from then on; what stood there before is in the sums, too.
# What is nobody's is carried by entity.
_CARRIED = """
SELECT p.customer_id, CASE WHEN p.customer_id IS NULL THEN e.entity_id END AS entity_id,
       p.currency, x.functional_currency, p.account_id,
       sum(p.amount_minor)::bigint, coalesce(sum(p.functional_minor), 0)::bigint
  FROM (SELECT DISTINCT customer_id, currency, functional_currency FROM posting
         WHERE functional_currency IS NOT NULL) x
  JOIN posting p ON p.customer_id IS NOT DISTINCT FROM x.customer_id AND p.currency = x.currency
   AND (p.functional_currency IS NULL OR p.functional_currency = x.functional_currency)
  JOIN journal_entry e ON e.id = p.entry_id AND e.effective_on < %(end)s
 WHERE p.account_id = ANY(%(accounts)s) AND (p.customer_id IS NOT NULL
       OR p.functional_currency IS NOT NULL)
 GROUP BY 1, 2, 3, 4, 5
HAVING count(p.functional_currency) > 0
 ORDER BY 1, 2, 3, 4, 5
"""


def monetary_balances(period: AccountingPeriod) -> dict[Whose, dict[Account, Carried]]:
    """Sum by account what is carried of foreign money at a month's end."""
    accounts = sorted(account.value for account in MONETARY)
    with connection.cursor() as cursor:
        cursor.execute(_CARRIED, {"end": period.end_on, "accounts": accounts})
        rows = cursor.fetchall()
    found: dict[Whose, dict[Account, Carried]] = defaultdict(dict)
    for *whose, account, amount, book in rows:
        found[Whose(*whose)][Account(account)] = Carried(amount, book)
    return found


def closing_day(period: AccountingPeriod) -> date:
    """Return the day whose rates value a month's end."""
    return period.end_on - DAY


def rate_for(pair: Whose, balances: dict[Account, Carried], on: date, at: datetime) -> Rate | None:
    """Return the rate of a day; where nothing is left of the currency none is needed."""
    if not any(carried.amount_minor for carried in balances.values()):
        return required(None, pair.functional, pair.functional)
    return rate_on(pair.currency, pair.functional, on, at)


def missing_rates(period: AccountingPeriod, at: datetime) -> Iterator[str]:
    """Name the pairs of currencies that a month's end has money in, and no approved rate of."""
    on, named = closing_day(period), set()
    for pair, balances in monetary_balances(period).items():
        if rate_for(pair, balances, on, at) is None:
            named.add(f"{pair.currency} to {pair.functional}")
    yield from sorted(named)
