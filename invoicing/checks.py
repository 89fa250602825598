"""Checks of the books that this app answers for."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from billing_project.kernel import clock
from billing_project.kernel.books import Finding, check
from billing_project.kernel.money import settle
from billing_project.kernel.quantity import plain
from credits.models import BillingPeriod
from invoicing.models import PREPAID, InvoiceLine
from invoicing.selectors import grants_of_line, overage_price, pack_steps

_PATIENCE = timedelta(hours=1)  # The worker opens periods within seconds.

# A period takes the hour that it begins in where no other covers it (decision 6).
_WITHOUT_PERIOD = """
SELECT w.customer_id, count(*), min(w.start_at)
  FROM usage_window w
  JOIN subscription s ON s.customer_id = w.customer_id AND w.start_at >= s.start_at
   AND (s.ends_at IS NULL OR w.start_at < s.ends_at)
 WHERE w.quantity > 0 AND w.updated_at < %s
   AND NOT EXISTS (SELECT FROM billing_period b
                    WHERE b.customer_id = w.customer_id
                      AND b.start_at < w.start_at + interval '1 hour' AND b.end_at > w.start_at)
 GROUP BY w.customer_id
"""

_UNCLOSED = """
SELECT DISTINCT l.billing_period_id, i.number
  FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
  JOIN billing_period b ON b.id = l.billing_period_id AND i.ready_at >= b.end_at
 WHERE l.kind = 'overage' AND i.status <> 'draft'
   AND NOT EXISTS (SELECT FROM invoiced_usage u
                    WHERE u.source_key = 'billing_period:' || l.billing_period_id)
"""

_MIXED = """
SELECT i.id, i.number, sum(r.overage)
  FROM invoice i JOIN invoice_line l ON l.invoice_id = i.id AND l.kind = 'overage'
  JOIN line_usage u ON u.line_id = l.id JOIN rated_usage r ON r.id = u.rated_usage_id
  JOIN usage_window w ON w.id = r.window_id
 WHERE i.workspace_id IS NOT NULL AND i.status <> 'draft'
   AND w.workspace_id IS DISTINCT FROM i.workspace_id
 GROUP BY i.id, i.number, w.workspace_id HAVING sum(r.overage) <> 0
"""

_PROPOSALS = """
SELECT p.id, p.amount_minor, l.amount_minor, p.restored_credits, l.restored_credits
  FROM proposed_credit_note p
  JOIN policy_change c ON c.id = p.policy_change_id
  LEFT JOIN credit_note_line l
    ON l.credit_note_id = p.credit_note_id AND l.invoice_line_id = p.invoice_line_id
 WHERE p.state = 'issued'
   AND ((l.amount_minor, l.restored_credits)
            IS DISTINCT FROM (p.amount_minor, p.restored_credits) OR c.status <> 'approved')
"""

_NUMBERS = """
SELECT concat_ws('.', e.code, s.code), s.last_number, coalesce(d.documents, 0),
       coalesce(d.highest, 0)
  FROM number_series s JOIN legal_entity e ON e.id = s.entity_id
  LEFT JOIN (SELECT entity_id, 'INV' AS code, count(sequence) AS documents, max(sequence) AS highest
               FROM invoice WHERE sequence IS NOT NULL GROUP BY entity_id
             UNION ALL
             SELECT entity_id, 'CN', count(*), max(sequence) FROM credit_note GROUP BY entity_id) d
    ON d.entity_id = s.entity_id AND d.code = s.code
 WHERE s.last_number <> coalesce(d.documents, 0) OR s.last_number <> coalesce(d.highest, 0)
"""

# "DE-INV-000007" is the seventh of its series.
_MISNAMED = """
SELECT d.number
  FROM (SELECT 'INV' AS code, entity_id, sequence, number FROM invoice WHERE sequence IS NOT NULL
        UNION ALL
        SELECT 'CN', entity_id, sequence, number FROM credit_note) d
  JOIN legal_entity e ON e.id = d.entity_id
 WHERE d.number <> concat_ws('-', nullif(e.series_prefix, ''), d.code,
       lpad(d.sequence::text, greatest(6, length(d.sequence::text)), '0'))
 ORDER BY d.number
"""

_TOTALS = """
SELECT i.id, i.total_minor, coalesce(sum(l.amount_minor + l.tax_minor), 0)
  FROM invoice i LEFT JOIN invoice_line l ON l.invoice_id = i.id
 GROUP BY i.id
HAVING i.total_minor <> coalesce(sum(l.amount_minor + l.tax_minor), 0)
    OR i.tax_minor <> coalesce(sum(l.tax_minor), 0)
"""

# Notes that are void give nothing and take nothing.
_STANDING_NOTE = """
WITH standing_note AS (
    SELECT * FROM credit_note n
     WHERE NOT EXISTS (SELECT FROM credit_note_void v WHERE v.credit_note_id = n.id)),
standing_note_line AS (
    SELECT c.* FROM credit_note_line c JOIN standing_note n ON n.id = c.credit_note_id)
"""

_SETTLED = """
SELECT i.id
  FROM invoice i
  LEFT JOIN (SELECT invoice_id, sum(amount_minor) AS paid,
                    sum(amount_minor) FILTER (WHERE is_recovery) AS recovered
               FROM payment GROUP BY invoice_id) p
    ON p.invoice_id = i.id
  LEFT JOIN (SELECT invoice_id, sum(total_minor) AS credited, sum(open_minor) AS off_open,
                    sum(refund_minor + out_of_band_minor) AS returned
               FROM standing_note GROUP BY invoice_id) n ON n.invoice_id = i.id
  LEFT JOIN (SELECT invoice_id, sum(amount_minor) AS applied
               FROM balance_application GROUP BY invoice_id) a ON a.invoice_id = i.id
 WHERE i.paid_minor <> coalesce(paid, 0)
    OR i.applied_minor <> coalesce(applied, 0)
    OR i.credited_minor <> coalesce(credited, 0)
    OR i.returned_minor <> coalesce(returned, 0)
    OR (i.status NOT IN ('draft', 'void')
        AND i.open_minor + i.written_off_minor <> i.total_minor - coalesce(paid, 0)
                                - coalesce(applied, 0) - coalesce(off_open, 0)
                                - coalesce((SELECT h.amount_minor FROM short_payment h
                                             WHERE h.invoice_id = i.id), 0))
    OR (i.status = 'finalized') <> (i.open_minor > 0)
    OR (i.status = 'uncollectible') <> (i.written_off_minor > 0)
    OR (i.status = 'void') <> EXISTS (SELECT FROM invoice_void v WHERE v.invoice_id = i.id)
    OR i.written_off_minor > coalesce((SELECT w.amount_minor FROM write_off w
                                         WHERE w.invoice_id = i.id), 0) - coalesce(recovered, 0)
"""

_CREDITED = """
SELECT l.id, l.credited_minor, coalesce(sum(c.amount_minor), 0)
  FROM invoice_line l LEFT JOIN standing_note_line c ON c.invoice_line_id = l.id
 GROUP BY l.id
HAVING l.credited_minor <> coalesce(sum(c.amount_minor), 0)
    OR l.tax_credited_minor <> coalesce(sum(c.tax_minor), 0)
"""

_NOTES = """
SELECT n.id, n.total_minor, coalesce(sum(c.amount_minor + c.tax_minor), 0)
  FROM credit_note n LEFT JOIN credit_note_line c ON c.credit_note_id = n.id
 GROUP BY n.id
HAVING n.total_minor <> coalesce(sum(c.amount_minor + c.tax_minor), 0)
    OR n.tax_minor <> coalesce(sum(c.tax_minor), 0)
"""

_BALANCES = """
SELECT coalesce(b.customer_id, f.customer_id), coalesce(b.currency, f.currency),
       coalesce(b.balance_minor, 0), coalesce(f.total, 0)
  FROM customer_balance b
  FULL JOIN (
    SELECT customer_id, currency, sum(minor) AS total FROM (
        SELECT i.customer_id, n.currency, n.balance_minor AS minor
          FROM standing_note n JOIN invoice i ON i.id = n.invoice_id
        UNION ALL
        SELECT i.customer_id, a.currency, -a.amount_minor
          FROM balance_application a JOIN invoice i ON i.id = a.invoice_id
        UNION ALL
        SELECT customer_id, currency, amount_minor FROM overpayment
        UNION ALL
        SELECT customer_id, currency, -amount_minor FROM refund WHERE credit_note_id IS NULL
        UNION ALL
        SELECT r.customer_id, r.currency, r.amount_minor
          FROM refund_failure e JOIN refund r ON r.id = e.refund_id
    ) facts GROUP BY customer_id, currency) f
    ON f.customer_id = b.customer_id AND f.currency = b.currency
 WHERE coalesce(b.balance_minor, 0) <> coalesce(f.total, 0)
"""

_REFUNDS = """
SELECT n.id, n.refund_minor, sum(r.amount_minor)
  FROM credit_note n JOIN refund r ON r.credit_note_id = n.id JOIN invoice i ON i.id = n.invoice_id
 GROUP BY n.id
HAVING sum(r.amount_minor) > n.refund_minor
    OR bool_or(r.currency <> n.currency OR r.customer_id <> i.customer_id)
    OR EXISTS (SELECT FROM credit_note_void v WHERE v.credit_note_id = n.id)
"""

# An overage line may also claim again what notes evened out before: never more than they did.
_USAGE = """
SELECT l.id, l.quantity, sum(CASE l.kind WHEN 'overage' THEN r.overage ELSE r.charge END),
       count(*) FILTER (WHERE r.billing_period_id <> l.billing_period_id OR u.kind <> l.kind)
  FROM invoice_line l
  LEFT JOIN line_usage u ON u.line_id = l.id
  LEFT JOIN rated_usage r ON r.id = u.rated_usage_id
 WHERE l.kind IN ('overage', 'credits_used')
 GROUP BY l.id
HAVING CASE l.kind
       WHEN 'overage' THEN coalesce(l.quantity - sum(r.overage), -1) NOT BETWEEN 0 AND (
           SELECT coalesce(sum(c.evened_credits), 0)
             FROM standing_note_line c JOIN invoice_line e ON e.id = c.invoice_line_id
            WHERE e.billing_period_id = l.billing_period_id AND e.kind = 'overage')
       ELSE l.quantity IS DISTINCT FROM sum(r.charge) END
    OR count(*) FILTER (WHERE r.billing_period_id <> l.billing_period_id OR u.kind <> l.kind) > 0
"""

# Of each period: overage rated, and that on no issued line; what issued lines claim, in credits and
# money, and how much of either notes evened out.
_PERIODS = """
, evened AS (
    SELECT invoice_line_id, sum(evened_credits) AS credits, sum(evened_minor) AS minor
      FROM standing_note_line GROUP BY invoice_line_id),
claimed AS (
    SELECT l.billing_period_id, sum(l.quantity) AS credits, sum(coalesce(e.credits, 0)) AS evened,
           sum(l.amount_minor - coalesce(e.minor, 0)) AS minor
      FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
      LEFT JOIN evened e ON e.invoice_line_id = l.id
     WHERE l.kind = 'overage' AND i.status NOT IN ('draft', 'void')
     GROUP BY l.billing_period_id),
rated AS (
    SELECT r.billing_period_id, sum(r.overage) AS credits,
           coalesce(sum(r.overage) FILTER (WHERE NOT EXISTS (
               SELECT FROM line_usage u
                 JOIN invoice_line l ON l.id = u.line_id JOIN invoice i ON i.id = l.invoice_id
                WHERE u.rated_usage_id = r.id AND u.kind = 'overage'
                  AND i.status NOT IN ('draft', 'void')
           )), 0) AS unbilled
      FROM rated_usage r WHERE r.overage <> 0
     GROUP BY r.billing_period_id)
SELECT billing_period_id, coalesce(rated.credits, 0), coalesce(rated.unbilled, 0),
       coalesce(claimed.credits, 0), coalesce(claimed.evened, 0), coalesce(claimed.minor, 0)
  FROM rated FULL JOIN claimed USING (billing_period_id)
"""

_VOID_USAGE = """
SELECT i.id, i.number, count(*)
  FROM line_usage u JOIN invoice_line l ON l.id = u.line_id JOIN invoice i ON i.id = l.invoice_id
 WHERE u.is_void <> (i.status = 'void')
 GROUP BY i.id
"""

# Paid packs without their grant, or with one that cost something else.
_PACKS = """
SELECT l.id, g.id, g.amount, g.price_minor
  FROM invoice_line l
  JOIN invoice i ON i.id = l.invoice_id
  LEFT JOIN credit_grant g ON g.source_key = 'invoice_line:' || l.id || ':pack'
 WHERE l.kind IN ('credit_pack', 'commitment')
   AND CASE WHEN g.id IS NULL THEN i.status = 'paid' AND l.credited_minor < l.amount_minor
            ELSE i.status <> 'paid' OR g.category <> 'paid'
                 OR (g.amount <> l.quantity AND l.credited_minor = 0)
                 OR g.customer_id <> i.customer_id OR g.currency <> i.currency
                 OR g.price_minor NOT BETWEEN l.amount_minor - l.credited_minor AND l.amount_minor
       END
"""


@check("Usage within a subscription lies in one of its billing periods")
def usage_has_its_period() -> Iterator[Finding]:
    """Find usage that was counted a while ago and whose period nobody opened."""
    for customer, windows, first in _rows(_WITHOUT_PERIOD, (clock.now() - _PATIENCE,)):
        yield Finding(f"customer:{customer}", f"{windows} windows from {first} have no period")


@check("Document numbers have no gaps")
def numbers_gapless() -> Iterator[Finding]:
    """Compare each series with the numbers that documents have."""
    for code, last, documents, highest in _rows(_NUMBERS):
        yield Finding(
            f"number_series:{code}", f"gave {last}; {documents} documents, highest {highest}"
        )
    for (number,) in _rows(_MISNAMED):
        yield Finding(f"document:{number}", "its number is not the one that its series gave it")


@check("Invoices total their lines")
def totals_are_lines() -> Iterator[Finding]:
    """Compare each invoice, drafts too, with the sum of its lines."""
    for invoice, total, lines in _rows(_TOTALS):
        yield Finding(f"invoice:{invoice}", f"totals {total} but its lines sum to {lines}")


@check("What is paid, applied, credited and open follows from what settled it")
def settlements_add_up() -> Iterator[Finding]:
    """Derive each invoice's state from what moved it, and each line's too."""
    for (invoice,) in _rows(_STANDING_NOTE + _SETTLED):
        yield Finding(f"invoice:{invoice}", "paid, credited or open is not what moved it")
    for line, credited, notes in _rows(_STANDING_NOTE + _CREDITED):
        yield Finding(f"invoice_line:{line}", f"says {credited} credited, notes took {notes}")
    for note, total, lines in _rows(_NOTES):
        yield Finding(f"credit_note:{note}", f"totals {total} but its lines sum to {lines}")


@check("Customers' balances follow from notes and what they paid; refunds stay within their notes")
def balances_add_up() -> Iterator[Finding]:
    """Fold each balance from its facts, and sum each note's refunds."""
    for customer, currency, balance, facts in _rows(_STANDING_NOTE + _BALANCES):
        yield Finding(f"customer:{customer} {currency}", f"has {balance}, its facts leave {facts}")
    for note, promised, refunded in _rows(_REFUNDS):
        yield Finding(f"credit_note:{note}", f"refunds {refunded} of {promised}")


@check("Every usage line is the sum of the rated usage behind it")
def lines_are_usage() -> Iterator[Finding]:
    """Compare quantities; the database holds that each rated usage stands behind one line."""
    for line, quantity, usage, strangers in _rows(_STANDING_NOTE + _USAGE):
        yield Finding(
            f"invoice_line:{line}",
            f"claims {quantity} credits for usage of {usage}; {strangers} rows of elsewhere",
        )


@check("Overage = invoiced + unbilled, in credits and in money")
def overage_is_invoiced_or_unbilled() -> Iterator[Finding]:
    """Compare each period's rated overage with issued lines, and their money with the price.

    Lines may claim more than the usage behind them only where they claim again what notes evened
    out before.
    """
    for period_id, rated, unbilled, claimed, evened, minor in _rows(_STANDING_NOTE + _PERIODS):
        subject = f"billing_period:{period_id}"
        if not 0 <= claimed - (rated - unbilled) <= evened:
            found = f"{plain(rated)} rated, {plain(claimed)} invoiced, {plain(unbilled)} not"
            yield Finding(subject, f"{found}, {plain(evened)} evened out")
        if claimed and minor != (due := _settled(period_id, claimed - evened)):
            yield Finding(subject, f"invoices claim {minor} for credits worth {due}")


@check("Every paid credit pack has its grant, once, at its price")
def packs_are_granted() -> Iterator[Finding]:
    """Find packs that were paid and not granted, granted unpaid, or granted at another price."""
    for line, grant, amount, price in _rows(_PACKS):
        given = f"grant {grant} of {amount} at {price}" if grant else "no grant"
        yield Finding(f"invoice_line:{line}", f"its pack has {given}")
    noted = InvoiceLine.objects.filter(kind__in=PREPAID, credited_minor__gt=0)
    for credited in noted.order_by("id"):
        grants = grants_of_line(credited).values_list("amount", "price_minor")
        if not {*grants} <= {(step.credits, step.price_minor) for step in pack_steps(credited)}:
            yield Finding(
                f"invoice_line:{credited.pk}", f"no note leaves its pack as granted: {[*grants]}"
            )


@check("Metering knows every period whose usage is invoiced")
def invoiced_usage_is_known() -> Iterator[Finding]:
    """Find invoiced periods whose late events would pass as ordinary ones."""
    for period_id, number in _rows(_UNCLOSED):
        yield Finding(f"billing_period:{period_id}", f"is on {number}, but not closed for usage")


@check("Proposed credit notes were issued as they were approved")
def proposals_are_issued_as_approved() -> Iterator[Finding]:
    """Compare what was proposed with what the note took off, and look for the approval."""
    for proposal, proposed, issued, credits_, restored in _rows(_PROPOSALS):
        yield Finding(
            f"proposed_credit_note:{proposal}",
            f"proposed {proposed} minor units and {credits_} credits, issued {issued}, {restored}",
        )


def _settled(period_id: int, claimed: Decimal) -> int:
    price, currency = overage_price(BillingPeriod.objects.get(pk=period_id))
    return settle(claimed * price, currency)


def _rows(sql: str, params: tuple[datetime, ...] = ()) -> Iterator[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)
        yield from cursor.fetchall()


@check("Usage behind a void invoice is free to be billed again, and behind no other")
def voids_free_their_usage() -> Iterator[Finding]:
    """Compare each line's usage with the state of its invoice."""
    for invoice, number, rows in _rows(_VOID_USAGE):
        yield Finding(f"invoice:{invoice}", f"{number}: {rows} rows of usage are of another state")


@check("An invoice of one workspace claims the usage of no other")
def workspaces_are_invoiced_apart() -> Iterator[Finding]:
    """Look behind the overage of invoices that were cut by workspace."""
    for invoice, number, credits_ in _rows(_MIXED):
        yield Finding(f"invoice:{invoice}", f"{number}: {plain(credits_)} credits of others")
