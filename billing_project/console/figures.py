"""The figures of the home page: each function is one aggregate query over its app's tables."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import Count, Exists, Max, Min, OuterRef, Q, Subquery, Sum, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, TruncDate
from django.urls import reverse

from billing_project.console.charts import UnitRow
from billing_project.kernel.backoffice.display import object_url
from billing_project.kernel.models import (
    AuditEntry,
    OutboxMessage,
    PolicyChange,
    PolicyStatus,
    WebhookDelivery,
    WebhookEndpoint,
)
from billing_project.kernel.money import exponent
from credits.models import CreditGrant, RatedUsage
from credits.selectors import unrated_windows
from invoicing.models import BillingHold, Invoice, InvoiceLine, InvoiceStatus, LineKind, LineUsage
from invoicing.selectors import OverageState, overcharged_periods
from invoicing.selectors.proposals import open_proposals
from invoicing.selectors.usage import NOT_CLAIMING
from metering.aggregation import ADDITIVE
from metering.models import Customer, EventBatch, QuarantinedEvent, UsageWindow
from metering.models.event import QuarantineState
from revrec.models import Posting

RECEIVABLE, UNBILLED = ("1100",), ("1200",)
MOST_UNRATED = 1_000  # Counted on the home page; past that it says "more than".
STUCK_AFTER = timedelta(minutes=15)  # A note is taken up within seconds while the worker runs.
FAILURES_SHOWN = timedelta(days=3)  # Of tasks; the worker's own list has the older ones.
DEFERRED, REVENUE = ("2100", "2120", "2190"), ("4",)


@dataclass(frozen=True)
class Capture:
    """What came in, and what of it waits to be aggregated."""

    event_count: int
    waiting_count: int
    waiting_since: datetime | None


@dataclass(frozen=True)
class Waiting:
    """Notes of one topic that the next step has not taken up."""

    topic: str
    count: int
    since: datetime


def capture() -> Capture:
    """Count events and waiting batches; batches carry the counts, so events are not scanned."""
    waiting = Q(aggregated_at__isnull=True)
    row = EventBatch.objects.aggregate(
        events=Coalesce(Sum("event_count"), 0),
        waiting=Count("id", filter=waiting),
        since=Min("received_at", filter=waiting),
    )
    return Capture(row["events"], row["waiting"], row["since"])


def waiting_notes() -> list[Waiting]:
    """Count the notes of each topic of the outbox."""
    rows = (
        OutboxMessage.objects.values("topic")
        .annotate(count=Count("id"), since=Min("created_at"))
        .order_by("topic")
    )
    return [Waiting(row["topic"], row["count"], row["since"]) for row in rows]


def stuck_notes(at: datetime) -> list[Waiting]:
    """Count the notes of each topic that have waited too long: something fails again and again."""
    rows = (
        OutboxMessage.objects.filter(created_at__lte=at - STUCK_AFTER)
        .values("topic")
        .annotate(count=Count("id"), since=Min("created_at"))
        .order_by("topic")
    )
    return [Waiting(row["topic"], row["count"], row["since"]) for row in rows]


def open_quarantine() -> int:
    """Count events that wait for somebody to map, replay or dismiss them."""
    return QuarantinedEvent.objects.filter(state=QuarantineState.OPEN).count()


def unrated_count() -> int:
    """Count windows whose usage has no charge yet, up to one more than MOST_UNRATED."""
    return unrated_windows().order_by().values("pk")[: MOST_UNRATED + 1].count()


def usage_by_day(start_at: datetime, end_at: datetime) -> list[UnitRow]:
    """Sum quantities by UTC day, model and unit; a meter without models goes by its code.

    Hours of a maximum, of a last value or of distinct values add up to nothing: they are left out.
    """
    rows = (
        UsageWindow.objects.filter(
            start_at__gte=start_at, start_at__lt=end_at, meter__aggregation__in=ADDITIVE
        )
        .annotate(
            day=TruncDate("start_at"),
            series=Coalesce(
                KeyTextTransform("model", "dimensions"), "meter__code", output_field=TextField()
            ),
        )
        .values_list("day", "series", "meter__unit")
        .annotate(total=Sum("quantity"))
        .order_by("day", "series", "meter__unit")
    )
    return list(rows)


def credits_outstanding(at: datetime) -> list[tuple[str, Decimal]]:
    """Sum what is left of the grants that are in force, by pricing unit."""
    in_force = Q(expires_at__isnull=True) | Q(expires_at__gt=at)
    return list(
        CreditGrant.objects.filter(in_force, effective_at__lte=at, remaining__gt=0)
        .values_list("pricing_unit__code")
        .annotate(total=Sum("remaining"))
        .order_by("pricing_unit__code")
    )


def charge_by_day(start_at: datetime, end_at: datetime) -> list[UnitRow]:
    """Sum what grants covered and what they did not, by UTC day and pricing unit."""
    rows = (
        RatedUsage.objects.filter(service_at__gte=start_at, service_at__lt=end_at)
        .annotate(day=TruncDate("service_at"))
        .values_list("day", "rate_card_version__rate_card__pricing_unit__code")
        .annotate(drawn_total=Sum("drawn"), overage_total=Sum("overage"))
        .order_by("day", "rate_card_version__rate_card__pricing_unit__code")
    )
    return [
        part
        for day, unit, drawn, overage in rows
        for part in ((day, "drawn from grants", unit, drawn), (day, "overage", unit, overage))
    ]


def total_of(
    totals: dict[tuple[str, str], int], accounts: Iterable[str], sign: int
) -> list[tuple[int, str]]:
    """Sum the accounts whose code starts with one of the given, by currency.

    Args:
        sign: 1 for accounts that are debit-normal, -1 for the others.
    """
    sums: dict[str, int] = {}
    for (account, currency), amount in totals.items():
        if account.startswith(tuple(accounts)):
            sums[currency] = sums.get(currency, 0) + sign * amount
    return [(amount, currency) for currency, amount in sorted(sums.items())]


def revenue_by_day(start_on: date, end_on: date) -> list[UnitRow]:
    """Sum recognised revenue by effective day and account, in major units of each currency."""
    rows = (
        Posting.objects.filter(
            account__code__startswith="4",
            entry__effective_on__gte=start_on,
            entry__effective_on__lt=end_on,
        )
        .values_list("entry__effective_on", "account__name", "currency")
        .annotate(total=Sum("amount_minor"))
        .order_by("entry__effective_on", "account__name", "currency")
    )
    return [
        (day, name, currency, Decimal(-total).scaleb(-exponent(currency)))
        for day, name, currency, total in rows
    ]


def changes_to_decide(limit: int = 6) -> list[PolicyChange]:
    """List the policy changes that wait for a decision, the oldest first."""
    return list(
        PolicyChange.objects.filter(status=PolicyStatus.SUBMITTED)
        .select_related("proposed_by")
        .defer("content")
        .order_by("id")[:limit]
    )


def drafts(limit: int = 6) -> list[Invoice]:
    """List the draft invoices that nothing holds, those that may be finalized first."""
    held = BillingHold.objects.filter(invoice=OuterRef("pk"), released_at=None)
    return list(
        Invoice.objects.filter(~Exists(held), status=InvoiceStatus.DRAFT)
        .select_related("customer")
        .order_by("ready_at", "id")[:limit]
    )


def overcharged(customers: int = 20) -> list[OverageState]:
    """List the periods that are claimed beyond what was used, of those corrected last.

    Only a correction that no invoice took up can make one: the other customers are not summed.
    """
    issued = LineUsage.objects.filter(rated_usage=OuterRef("pk"), kind=LineKind.OVERAGE).exclude(
        line__invoice__status__in=NOT_CLAIMING
    )
    corrected = (
        RatedUsage.objects.filter(~Exists(issued), overage__lt=0)
        .values_list("customer_id")
        .annotate(newest=Max("id"))
        .order_by("-newest")[:customers]
    )
    found = Customer.objects.in_bulk([pk for pk, _ in corrected])
    return [state for customer in found.values() for state in overcharged_periods(customer)]


def overcharged_undecided() -> list[OverageState]:
    """List those overcharged periods for which no credit note waits for its decision."""
    proposed = set(open_proposals().values_list("invoice_line__billing_period_id", flat=True))
    return [state for state in overcharged() if state.billing_period.pk not in proposed]


def invoice_of_overage(billing_period_id: int) -> Invoice | None:
    """Return the newest issued invoice of a period's overage."""
    lines = InvoiceLine.objects.filter(billing_period=billing_period_id, kind=LineKind.OVERAGE)
    issued = lines.exclude(invoice__status__in=NOT_CLAIMING).select_related("invoice")
    line = issued.order_by("-invoice_id").first()
    return line.invoice if line else None


def overage_url(billing_period_id: int) -> str:
    """Return the address of the invoice of a period's overage, or of all invoices."""
    invoice = invoice_of_overage(billing_period_id)
    return object_url(invoice) if invoice else reverse("admin:invoicing_invoice_changelist")


def draft_counts(at: datetime) -> tuple[int, int]:
    """Count the drafts, and those of them that are past their grace."""
    row = Invoice.objects.filter(status=InvoiceStatus.DRAFT).aggregate(
        all=Count("id"), ready=Count("id", filter=Q(ready_at__lte=at))
    )
    return row["all"], row["ready"]


def last_check() -> AuditEntry | None:
    """Return when the books were last checked from the console, and with what result."""
    return (
        AuditEntry.objects.filter(action="check_books").select_related("by").order_by("-id").first()
    )


def endpoints_in_trouble() -> list[WebhookEndpoint]:
    """List endpoints that were switched off while they failed, or whose webhooks were given up.

    Each has its `given_up_count`.
    """
    given_up = WebhookDelivery.objects.filter(endpoint=OuterRef("pk"), given_up_at__isnull=False)
    count = given_up.order_by().values("endpoint").values(count=Count("pk"))
    is_off = Q(disabled_at__isnull=False, failing_since__isnull=False)
    rows = WebhookEndpoint.objects.annotate(given_up_count=Coalesce(Subquery(count), 0))
    return list(rows.filter(is_off | Q(disabled_at=None, given_up_count__gt=0)).order_by("pk"))
