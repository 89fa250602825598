"""Ended terms of commits that charge more or less than max(commit, what counts)."""

from collections.abc import Iterator
from datetime import UTC, datetime

from django.db import connection
from django.db.models import Max

from credits.models import BillingPeriod
from invoicing.models import CreditNoteLine, InvoiceLine
from invoicing.selectors.arrears import Term, changed_periods, closed_term
from invoicing.selectors.holds import hold_of
from invoicing.selectors.invoices import is_claimed
from invoicing.selectors.settlement import disputed_minor

_EVER = datetime(2000, 1, 1, tzinfo=UTC)

# Periods with a claim that was issued after the shortfall of the term that they are in.
_CLAIMED_LATER = """
SELECT DISTINCT l.billing_period_id
  FROM invoice_line short JOIN invoice s ON s.id = short.invoice_id
  JOIN invoice i ON i.subscription_id = s.subscription_id AND i.finalized_at > s.finalized_at
   AND i.service_start_at >= short.service_start_at AND i.service_start_at < short.service_end_at
  JOIN invoice_line l ON l.invoice_id = i.id AND l.billing_period_id IS NOT NULL
   AND l.kind <> 'commit_shortfall'
 WHERE short.kind = 'commit_shortfall'
"""


def terms_off_their_commit(at: datetime, since: datetime) -> Iterator[tuple[int, int]]:
    """List terms that claim too little (> 0) or too much (< 0): (last period, minor units).

    Looks only at those that something changed after they were trued up. What finance conceded or
    a bank took back, an invoice that ended and a period that is held explain a difference.

    Args:
        since: What changed after it is left to the worker.
    """
    seen: set[int] = set()
    for period in [*changed_periods(at, _EVER), *_claimed_later()]:
        found = closed_term(period)
        if found is None or found[0].pk in seen:
            continue
        last, term = found
        seen.add(last.pk)
        if (off := _off(last, term)) and not _changed_after(term, last, since):
            yield last.pk, off


def _claimed_later() -> list[BillingPeriod]:
    with connection.cursor() as cursor:
        cursor.execute(_CLAIMED_LATER)
        ids = [pk for (pk,) in cursor.fetchall()]
    return list(BillingPeriod.objects.filter(pk__in=ids).select_related("customer").order_by("pk"))


def _off(last: BillingPeriod, term: Term) -> int:
    left = term.commit.left_minor
    if left > 0:
        return 0 if hold_of(f"billing_period:{last.pk}") is not None else left
    lines = term.claimed.select_related("invoice")
    kept = sum(
        line.amount_minor - line.credited_minor
        for line in lines
        if is_claimed(line.invoice) and not disputed_minor(line.invoice)
    )
    return max(left, -kept)


def _changed_after(term: Term, last: BillingPeriod, since: datetime) -> bool:
    lines = InvoiceLine.objects.filter(
        billing_period__customer=last.customer_id,
        billing_period__start_at__gte=term.service.start,
        billing_period__end_at__lte=term.service.end,
    )
    notes = CreditNoteLine.objects.filter(invoice_line__in=lines)
    newest = [
        *lines.aggregate(Max("invoice__finalized_at"), Max("invoice__void__voided_at")).values(),
        *notes.aggregate(
            Max("credit_note__issued_at"), Max("credit_note__void__voided_at")
        ).values(),
    ]
    return any(moment is not None and moment > since for moment in newest)
