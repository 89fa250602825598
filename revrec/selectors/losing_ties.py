"""Where small and rare losses disagree with the facts behind them: 4910 and 7900.

4910 is worked out from the journal's own order: what a promise carried when a note came.
"""

from collections.abc import Iterator

from revrec.posting import Account
from revrec.selectors.tieouts import Mismatch, customer_mismatches, mismatches

# A note gives back what the purchase's credits still carried or had become as breakage, then 4910.
# Notes of before that rule have their whole amount on 4900, and no line on these accounts.
_BEYOND = """
WITH noted AS (
    SELECT e.id, p.obligation_id,
           coalesce(sum(p.amount_minor) FILTER (WHERE p.account_id = '4910'), 0) AS beyond,
           sum(p.amount_minor) AS taken
      FROM journal_entry e JOIN posting p ON p.entry_id = e.id
      JOIN performance_obligation o ON o.id = p.obligation_id
       AND o.kind IN ('credits', 'commitment')
     WHERE e.kind = 'credit_note_issued' AND p.account_id IN ('2100', '4030', '4040', '4910')
       AND EXISTS (SELECT FROM posting x WHERE x.entry_id = e.id
                      AND x.obligation_id = p.obligation_id
                      AND x.account_id IN ('4030', '4040', '4910'))
     GROUP BY e.id, p.obligation_id)
SELECT 'journal_entry:' || n.id, (n.taken - least(n.taken, greatest(c.carried, 0)))::text,
       n.beyond::text
  FROM noted n JOIN LATERAL (
       SELECT -coalesce(sum(p.amount_minor), 0) AS carried
         FROM posting p JOIN journal_entry e ON e.id = p.entry_id
        WHERE p.obligation_id = n.obligation_id AND p.account_id IN ('2100', '4030', '4040')
          AND e.id < n.id) c ON true
 WHERE n.beyond <> n.taken - least(n.taken, greatest(c.carried, 0))
UNION ALL
SELECT 'posting:' || p.id, 'a credit note on credits', e.kind
  FROM posting p JOIN journal_entry e ON e.id = p.entry_id
  LEFT JOIN performance_obligation o ON o.id = p.obligation_id
   AND o.kind IN ('credits', 'commitment')
 WHERE p.account_id = '4910' AND (e.kind <> 'credit_note_issued' OR o.id IS NULL)
 ORDER BY 1
"""


def untied_refunds() -> Iterator[Mismatch]:
    """Compare 4910 with what notes gave back beyond what their credits carried."""
    yield from mismatches(_BEYOND)


def untied_short_payments() -> Iterator[Mismatch]:
    """Compare 7900 with what payments fell short by, customer by customer."""
    yield from customer_mismatches(
        Account.ROUNDING,
        "SELECT i.customer_id, s.currency, sum(s.amount_minor) AS total"
        " FROM short_payment s JOIN invoice i ON i.id = s.invoice_id"
        " GROUP BY i.customer_id, s.currency",
        sign=1,
    )
