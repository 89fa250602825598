"""Where the revenue of commitments disagrees with what was claimed of them, or with their credits.

4040 has two sources: lines that claim what a term lacked, and credits of a commitment that was paid
ahead and that ended with its term.
"""

from collections.abc import Iterator

from revrec.selectors.tieouts import Mismatch, mismatches

# Of credits that were bought, the end is breakage; of those of a commitment, its shortfall. How
# much it is follows from the other ties: of 4010, and of all revenue with the promise.
_MISPLACED = """
SELECT 'performance_obligation:' || o.id,
       CASE o.kind WHEN 'commitment' THEN '4040' ELSE '4030' END || ' alone, for what ended',
       sum(p.amount_minor) || ' on ' || p.account_id
  FROM performance_obligation o JOIN posting p ON p.obligation_id = o.id
 WHERE o.kind = 'commitment' AND p.account_id = '4030'
    OR o.kind <> 'shortfall' AND o.kind <> 'commitment' AND p.account_id = '4040'
 GROUP BY o.id, p.account_id HAVING sum(p.amount_minor) <> 0 ORDER BY o.id
"""


def untied_shortfalls() -> Iterator[Mismatch]:
    """Compare 4040 with the invoice line of each shortfall; 1210 is accrued and billed, so nothing.

    What notes took off is on 4900.
    """
    yield from mismatches(
        "SELECT 'performance_obligation:' || o.id, l.amount_minor || ' earned, 0 to bill',"
        "       -coalesce(sum(p.amount_minor) FILTER (WHERE p.account_id = '4040'), 0)"
        "       || ' earned, '"
        "       || coalesce(sum(p.amount_minor) FILTER (WHERE p.account_id = '1210'), 0)"
        "       || ' to bill'"
        "  FROM performance_obligation o JOIN invoice_line l ON l.id = o.invoice_line_id"
        "  LEFT JOIN posting p ON p.obligation_id = o.id AND p.account_id IN ('1210', '4040')"
        " WHERE o.kind = 'shortfall' GROUP BY o.id, l.amount_minor"
        " HAVING l.amount_minor"
        "        <> -coalesce(sum(p.amount_minor) FILTER (WHERE p.account_id = '4040'), 0)"
        "     OR coalesce(sum(p.amount_minor) FILTER (WHERE p.account_id = '1210'), 0) <> 0"
        " ORDER BY o.id"
    )


def misplaced_ends() -> Iterator[Mismatch]:
    """List promises whose unused credits ended on the other kind's account."""
    yield from mismatches(_MISPLACED)
