"""Checks of the books of what is sold ahead: seats by their days, discounts by their terms."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection
from django.db.models import Count, Q

from billing_project.kernel import clock
from billing_project.kernel.books import Finding, check
from billing_project.kernel.period import Period
from credits.models import BillingPeriod
from invoicing.models import InvoiceStatus, LineDiscount, Subscription
from invoicing.proration import part_of
from invoicing.selectors.changes import opening_of, standing_changes
from invoicing.selectors.plans import subscription_of
from invoicing.selectors.seats import beyond_worth, net_and_listed, seat_lines
from metering.selectors.customers import closed_times, was_closed_at

_PATIENCE = timedelta(hours=1)  # The worker settles changes within seconds.

# Ended periods in which seats changed. What nobody pays any more, a bank may take back, or an
# approver rejected, is not judged; nor what a change left claimed for its whole interval.
_CHANGED = """
SELECT DISTINCT b.id, b.start_at FROM seat_change c
  JOIN subscription s ON s.id = c.subscription_id
  JOIN billing_period b ON b.customer_id = s.customer_id
   AND b.source_key LIKE 'subscription:' || s.id || ':%%'
   AND b.start_at < c.effective_at AND c.effective_at < b.end_at
 WHERE b.end_at <= %s
   AND NOT EXISTS (
       SELECT FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
        WHERE l.billing_period_id = b.id AND l.kind = 'seat'
          AND (i.status IN ('void', 'uncollectible')
               OR EXISTS (SELECT FROM dispute d WHERE d.invoice_id = i.id)))
   AND NOT EXISTS (
       SELECT FROM draft_rejection r JOIN billing_hold h ON h.id = r.hold_id
         JOIN invoice i ON i.id = h.invoice_id AND i.subscription_id = s.id
        WHERE i.service_start_at < b.end_at AND i.service_end_at > b.start_at)
   AND NOT EXISTS (
       SELECT FROM subscription_change x WHERE x.subscription_id = s.id AND x.undone_at IS NULL
          AND x.effective_at = b.end_at AND NOT x.credits_unused)
 ORDER BY b.start_at, b.id
"""


@check("Seats of a period that ended are claimed for the days that they were had")
def seats_are_claimed() -> Iterator[Finding]:
    """Compare what is claimed with what the changes of seats come to.

    Each line and each change is rounded once, net; what is discounted is compared by the list.
    """
    for period in _periods_with_changes(clock.now() - _PATIENCE):
        sold = subscription_of(period)
        if was_closed_at(period.start_at, closed_times(sold.customer_id)):
            continue
        beyond = beyond_worth(sold, period, period.end_at)
        if abs(beyond) > _roundings(sold, period):
            yield Finding(
                f"billing_period:{period.pk}", f"its seats are claimed {beyond:+} beyond their days"
            )


def _roundings(sold: Subscription, period: BillingPeriod) -> Decimal:
    """Return by how much roundings of net amounts may move what is claimed by the list."""
    inside = Q(effective_at__gt=period.start_at, effective_at__lt=period.end_at)
    count = seat_lines(period).count() + sold.seats.filter(inside).count()
    net, listed = net_and_listed(seat_lines(period))
    if listed and not net:
        return listed  # Nothing was paid for them, and nothing is given back.
    return count * (listed / net if net else Decimal(1))


@check("A coupon over an amount takes it off once for each of its periods")
def amounts_are_taken_off_once() -> Iterator[Finding]:
    """Sum by interval what an amount took off, less the share of days that were given back."""
    for (coupon, subscription), intervals in sorted(_taken_off().items()):
        for start, (taken, amount, lines) in intervals.items():
            if taken > amount + lines:
                yield Finding(
                    f"subscription:{subscription}",
                    f"{coupon} took {taken} of {amount} off the interval from {start.isoformat()}",
                )


def _periods_with_changes(at: datetime) -> Iterator[BillingPeriod]:
    with connection.cursor() as cursor:
        cursor.execute(_CHANGED, [at])
        ids = [pk for pk, _ in cursor.fetchall()]
    yield from BillingPeriod.objects.filter(pk__in=ids).order_by("start_at", "id")


_Taken = dict[datetime, tuple[int, int, int]]


def _taken_off() -> dict[tuple[str, int], _Taken]:
    """Sum by coupon, subscription and interval: what came off, the amount, the lines."""
    several = (
        LineDiscount.objects.filter(redemption__coupon__amount_minor__gt=0)
        .exclude(line__invoice__status=InvoiceStatus.VOID)
        .exclude(line__billing_period=None)
    )
    often = several.values("redemption").annotate(n=Count("line__billing_period", distinct=True))
    rows = several.filter(redemption__in=often.filter(n__gt=1).values("redemption"))
    taken: dict[tuple[str, int], Counter[datetime]] = defaultdict(Counter)
    lines: dict[tuple[str, int], Counter[datetime]] = defaultdict(Counter)
    amounts: dict[tuple[str, int], int] = {}
    for row in rows.select_related("redemption__coupon", "line__billing_period__customer"):
        assert row.redemption is not None
        assert row.line.billing_period is not None
        key = row.redemption.coupon.code, row.redemption.subscription_id
        start = opening_of(row.line.billing_period).interval.start
        taken[key][start] += _kept(row, row.line.billing_period)
        lines[key][start] += 1
        amounts[key] = row.redemption.coupon.amount_minor
    return {
        key: {start: (sum_, amounts[key], lines[key][start]) for start, sum_ in sums.items()}
        for key, sums in taken.items()
    }


def _kept(row: LineDiscount, period: BillingPeriod) -> int:
    """Return what a discount took off the days that were served, or are still claimed."""
    span = Period(row.line.service_start_at, row.line.service_end_at)
    cut = standing_changes(subscription_of(period)).filter(effective_at=period.end_at)
    if not span.start < period.end_at < span.end or cut.filter(credits_unused=False).exists():
        return row.amount_minor
    unused = part_of(span, Period(period.end_at, span.end), period.customer.time_zone)
    return row.amount_minor - unused.minor(row.amount_minor)
