"""Periods that owe nothing and get an invoice nevertheless, which states the credits they used.

The policy that is in force when a period ends says whether it does.
"""

from datetime import datetime
from decimal import Decimal

from django.db.models import Min, OuterRef, QuerySet, Subquery, Sum

from billing_project.kernel.models import PolicyStatus
from credits.models import BillingPeriod, RatedUsage
from invoicing.models import InvoicePolicy, LineKind
from invoicing.selectors.holds import limits_at
from invoicing.selectors.usage import periods_to_invoice, sold_periods, uninvoiced, unstated


def is_stated(billing_period: BillingPeriod) -> bool:
    """Tell whether a period has used credits that stand on no line, and shall state them."""
    if not limits_at(billing_period.end_at).invoices_covered:
        return False
    rows = uninvoiced(billing_period, LineKind.CREDITS_USED).order_by()
    return (rows.aggregate(sum=Sum("charge"))["sum"] or Decimal(0)) > 0


def periods_to_draft(at: datetime) -> QuerySet[BillingPeriod]:
    """List periods that ended by `at` and have something to claim or to state, the oldest first."""
    claiming = set(periods_to_invoice(at).values_list("pk", flat=True))
    return sold_periods().filter(pk__in=claiming | _to_state(at))


def periods_without_invoice(start_at: datetime, end_at: datetime) -> int:
    """Count the periods that ended in a span with used credits on no line."""
    return _with_usage(sold_periods().filter(end_at__gt=start_at, end_at__lte=end_at)).count()


def _to_state(at: datetime) -> set[int]:
    asked = InvoicePolicy.objects.filter(
        policy_change__status=PolicyStatus.APPROVED, invoices_covered=True
    )
    since = asked.aggregate(first=Min("policy_change__effective_at"))["first"]
    if since is None:
        return set()
    periods = _with_usage(sold_periods().filter(end_at__gte=since, end_at__lte=at))
    ended = dict(periods.values_list("pk", "end_at"))
    asks = {end_at: limits_at(end_at).invoices_covered for end_at in set(ended.values())}
    return {pk for pk, end_at in ended.items() if asks[end_at]}


def _with_usage(periods: QuerySet[BillingPeriod]) -> QuerySet[BillingPeriod]:
    rows = RatedUsage.objects.filter(unstated(), billing_period=OuterRef("pk")).order_by()
    sums = rows.values("billing_period").annotate(sum=Sum("charge")).values("sum")
    return periods.alias(used=Subquery(sums)).filter(used__gt=0)
