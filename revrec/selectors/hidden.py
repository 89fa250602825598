"""Claims in advance that nobody owes yet: posted gross, and left out of statements by policy.

A subscription can be cancelled at any time, and what is paid ahead for days after it goes back: its
fees are owed once they are due or paid (IFRS 15.105-108, Example 38). Where statements show only
what is paid, any claim is left out as far as it is for what is not delivered.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date

from django.db import connection

from billing_project.kernel.period import DAY
from revrec.disclosures import Claim, hidden_pair
from revrec.models import Presentation
from revrec.schedule import start_of
from revrec.selectors.zone import books_zone

# Of each invoice: what of it is open by a day, what is undelivered. By due: of fees that a
# subscription owes and that are not due yet.
_CLAIMS = """
WITH moved AS (
    SELECT l.invoice_id, p.amount_minor
      FROM posting p JOIN journal_entry e ON e.id = p.entry_id AND e.effective_on < %(day)s
      JOIN performance_obligation o ON o.id = p.obligation_id
      JOIN invoice_line l ON l.id = o.invoice_line_id
     WHERE p.account_id = '2120' AND o.kind = 'fee'
        OR %(until_paid)s AND p.account_id IN ('2100', '2120')
), owed AS (
    SELECT i.id, i.currency, i.due_on, i.total_minor
           - coalesce((SELECT sum(y.amount_minor) FROM payment y
                        WHERE y.invoice_id = i.id AND y.paid_at < %(at)s), 0)
           - coalesce((SELECT sum(a.amount_minor) FROM balance_application a
                        WHERE a.invoice_id = i.id AND a.applied_at < %(at)s), 0)
           - coalesce((SELECT sum(n.open_minor) FROM credit_note n
                        WHERE n.invoice_id = i.id AND n.issued_at < %(at)s
                          AND NOT EXISTS (SELECT FROM credit_note_void v
                                           WHERE v.credit_note_id = n.id
                                             AND v.voided_at < %(at)s)), 0)
           - coalesce((SELECT sum(h.amount_minor) FROM short_payment h
                        WHERE h.invoice_id = i.id AND h.accepted_at < %(at)s), 0) AS open_minor
      FROM invoice i
     WHERE i.finalized_at < %(at)s
       AND (%(until_paid)s OR i.subscription_id IS NOT NULL AND i.due_on >= %(day)s)
       AND NOT EXISTS (SELECT FROM invoice_void v WHERE v.invoice_id = i.id
                          AND v.voided_at < %(at)s)
       AND NOT EXISTS (SELECT FROM write_off w WHERE w.invoice_id = i.id
                          AND w.written_off_at < %(at)s)
)
SELECT o.currency, o.due_on, o.open_minor, -sum(m.amount_minor)
  FROM owed o JOIN moved m ON m.invoice_id = o.id
 GROUP BY o.id, o.currency, o.due_on, o.open_minor
"""


def hidden_pairs(day: date, presentation: Presentation) -> Mapping[str, int]:
    """Return by currency what is shown neither as receivable nor as liability as a day begins."""
    if presentation == Presentation.FINALISE:
        return {}
    until_paid = presentation == Presentation.PAID
    with connection.cursor() as cursor:
        begins_at = start_of(day, books_zone())
        cursor.execute(_CLAIMS, {"day": day, "at": begins_at, "until_paid": until_paid})
        rows = cursor.fetchall()
    sums: Counter[str] = Counter()
    for currency, due_on, open_minor, undelivered in rows:
        claim = Claim(max(int(open_minor), 0), max(int(undelivered), 0), due_on, True)
        sums[currency] += hidden_pair(claim, day - DAY, until_paid=until_paid)
    return {currency: minor for currency, minor in sums.items() if minor}
