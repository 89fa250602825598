"""Compare what Stripe was told with what it has: usage by day, grants and copies of invoices."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal

from django.db.models import Sum
from django.db.models.functions import TruncDay

from billing_project.kernel.quantity import plain
from invoicing.models import CallKind, CallState, Invoice, MirroredUsage, StripeCall, StripeMeter
from invoicing.stripe_sync.comparing import ENGINEERING, Found
from invoicing.stripe_sync.gateway import list_all, of_customer, usage_by_day
from invoicing.stripe_sync.policy import to_stripe
from metering.models import UsageWindow

_DAY = timedelta(days=1)
OF_MIRROR = ("usage of ", "copy of ", "grant ")  # How the subjects of its differences begin.
_AS_STRIPE_COUNTS = Context(prec=15)  # Its sums are numbers of JSON: so many digits are exact.


def mirror_differences(since: datetime, until: datetime) -> Iterator[Found]:
    """Yield where Stripe's copy differs from ours; it reads, and mends nothing.

    Raises:
        Unreachable: Stripe does not answer.
    """
    yield from _of_usage(_midnight(since) + _DAY, _midnight(until))
    yield from _of_copies(since, until)
    yield from _of_grants(since, until)


def _of_usage(since: datetime, until: datetime) -> Iterator[Found]:
    """Compare whole days, of what was mirrored at all."""
    told = MirroredUsage.objects.filter(window__start_at__gte=since, window__start_at__lt=until)
    pairs = told.values_list(
        "window__customer_id", "window__meter_id", "call__customer__external_id",
        "window__meter__code",
    )  # fmt: skip
    names = dict(StripeMeter.objects.values_list("meter_id", "stripe_id"))
    for customer_id, meter_id, customer, meter in pairs.order_by(
        "window__customer_id", "window__meter_id"
    ).distinct():
        payload = told.filter(window__customer_id=customer_id).values_list(
            "call__params", flat=True
        )
        at_stripe = payload[0]["payload"]["stripe_customer_id"]
        there = {
            day: _read(text)
            for day, text in usage_by_day(names[meter_id], at_stripe, since, until).items()
        }
        here = _days_of(customer_id, meter_id, since, until)
        for day in sorted({*here, *there}):
            ours, theirs = here.get(day, Decimal(0)), there.get(day, Decimal(0))
            if _AS_STRIPE_COUNTS.plus(ours) != theirs:
                yield Found(
                    "amount", f"usage of {meter} by {customer} on {day}"[:120], plain(ours),
                    plain(theirs), ENGINEERING,
                )  # fmt: skip


def _days_of(
    customer_id: int, meter_id: int, since: datetime, until: datetime
) -> dict[str, Decimal]:
    windows = UsageWindow.objects.filter(
        customer_id=customer_id, meter_id=meter_id, start_at__gte=since, start_at__lt=until
    )
    days = windows.annotate(day=TruncDay("start_at", tzinfo=UTC)).values("day").order_by("day")
    return {f"{row['day']:%Y-%m-%d}": row["used"] for row in days.annotate(used=Sum("quantity"))}


def _of_copies(since: datetime, until: datetime) -> Iterator[Found]:
    there = {one["id"]: one["total"] for one in list_all("invoices", since, until)}
    for call in _done(CallKind.COPY, since, until):
        invoice = Invoice.objects.get(pk=int(call.subject.partition(":")[2]))
        ours = to_stripe(invoice.total_minor, invoice.currency)
        theirs = there.get(call.stripe_id)
        if theirs != ours:
            yield _unlike(f"copy of {invoice.number}", ours, theirs)


def _of_grants(since: datetime, until: datetime) -> Iterator[Found]:
    calls = list(_done(CallKind.GRANT, since, until))
    customers = {call.params["customer"] for call in calls}
    there = {
        one["id"]: one["amount"]["monetary"]["value"]
        for customer in sorted(customers)
        for one in of_customer("billing/credit_grants", customer)
    }
    for call in calls:
        ours, theirs = call.params["amount"]["monetary"]["value"], there.get(call.stripe_id)
        if theirs != ours:
            yield _unlike(call.subject.replace(":", " "), ours, theirs)


def _done(kind: CallKind, since: datetime, until: datetime) -> Iterator[StripeCall]:
    calls = StripeCall.objects.filter(
        kind=kind, state=CallState.DONE, first_sent_at__gte=since, first_sent_at__lt=until
    )
    yield from calls.order_by("id")


def _unlike(subject: str, ours: int, theirs: int | None) -> Found:
    kind = "only_here" if theirs is None else "amount"
    there = "" if theirs is None else str(theirs)
    return Found(kind, subject, str(ours), there, ENGINEERING)


def _read(text: str) -> Decimal:
    """Read a sum as Stripe writes it ("1e+20", "2.5")."""
    return _AS_STRIPE_COUNTS.plus(Decimal(text))


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
