"""Compare what Stripe was told with what it has, and with what is so by now; look up what it took.

Usage that waits to be told is no difference: it is told soon. What Stripe refused, or what moved
after it was told and was not told again, is one.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal

from django.db.models import Exists, F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, TruncDay

from billing_project.kernel.period import HOUR
from billing_project.kernel.quantity import plain
from invoicing.models import (
    CallKind,
    CallState,
    Invoice,
    MirroredUsage,
    StripeCall,
    StripeDifference,
    StripeMeter,
)
from invoicing.stripe_sync.calls import OPEN
from invoicing.stripe_sync.comparing import ENGINEERING, Found
from invoicing.stripe_sync.gateway import list_all, of_customer, usage_by
from invoicing.stripe_sync.mirror_ends import GRANTS, INVOICES
from invoicing.stripe_sync.policy import to_stripe
from metering.models import UsageWindow

_DAY = timedelta(days=1)
OF_MIRROR = ("usage of ", "copy of ", "grant ")  # How the subjects of its differences begin.
_AS_STRIPE_COUNTS = Context(prec=15)  # Its sums are numbers of JSON: so many digits are exact.
# What a copy is after it was told so; a note over all pays it by itself.
_STATUSES = {
    "": ("draft",), "finalize": ("open", "paid"), "pay": ("paid",), "void": ("void",),
    "uncollectible": ("uncollectible",),
}  # fmt: skip
_NEWS = 2 * _DAY  # What was told so lately is compared tonight, and of the rest one in _NIGHTS.
_NIGHTS = 7
_SETTLED = HOUR  # What moved later is still on its way to be told.
Pair = tuple[int, int, str, str]  # Ids of customer and meter, and their own names.


def mirror_differences(since: datetime, until: datetime) -> Iterator[Found]:
    """Yield where Stripe's copy differs from what it was told; it reads, and mends nothing.

    Raises:
        Unreachable: Stripe does not answer.
    """
    yield from _of_usage(_midnight(since) + _DAY, _midnight(until), until)
    yield from _of_untold(since, until)
    yield from _of_copies(since, until)
    yield from _of_grants(since, until)


def was_told(usage: MirroredUsage) -> bool | None:
    """Look up whether Stripe took what it was told of an hour; None: its count does not say.

    It counts by hour, over workspaces and dimensions. Where the answers to several calls about an
    hour were lost, either all of them were taken, or none.

    Raises:
        Unreachable: Stripe does not answer.
    """
    window = usage.window
    of_hour = MirroredUsage.objects.filter(
        window__customer=window.customer_id, window__meter=window.meter_id,
        window__start_at=window.start_at,
    )  # fmt: skip
    told, lost = (
        _total(of_hour.filter(call__state__in=states)) for states in ([CallState.DONE], OPEN)
    )
    meter = StripeMeter.objects.get(meter_id=window.meter_id).stripe_id
    customer = usage.call.params["payload"]["stripe_customer_id"]
    hours = usage_by(HOUR, meter, customer, window.start_at, window.start_at + HOUR)
    there = _read(hours.get(window.start_at, "0"))
    with_lost, without = (_AS_STRIPE_COUNTS.plus(one) for one in (told + lost, told))
    return {with_lost: True, without: False}.get(there) if with_lost != without else None


def _total(rows: QuerySet[MirroredUsage]) -> Decimal:
    total: Decimal = rows.aggregate(sum=Coalesce(Sum("quantity"), Decimal(0)))["sum"]
    return total


def _of_usage(since: datetime, until: datetime, at: datetime) -> Iterator[Found]:
    """Compare whole days of what Stripe took with what it has."""
    names = dict(StripeMeter.objects.values_list("meter_id", "stripe_id"))
    told = MirroredUsage.objects.filter(window__start_at__gte=since, window__start_at__lt=until)
    for customer_id, meter_id, customer, meter in _pairs(told, at):
        of_pair = told.filter(window__customer_id=customer_id, window__meter_id=meter_id)
        params = of_pair.values_list("call__params", flat=True)
        at_stripe = params[0]["payload"]["stripe_customer_id"]
        days = usage_by(_DAY, names[meter_id], at_stripe, since, until)
        there = {day: _read(text) for day, text in days.items()}
        here, on_their_way = (
            _days_of(of_pair.filter(call__state__in=states)) for states in ([CallState.DONE], OPEN)
        )
        for day in sorted({*here, *there} - set(on_their_way)):
            ours, theirs = here.get(day, Decimal(0)), there.get(day, Decimal(0))
            if _AS_STRIPE_COUNTS.plus(ours) != theirs:
                yield Found(
                    "amount", _subject(meter, customer, day), plain(ours), plain(theirs),
                    ENGINEERING,
                )  # fmt: skip


def _pairs(told: QuerySet[MirroredUsage], at: datetime) -> Iterator[Pair]:
    """Yield whom to compare tonight, by meter: the news, what stands open, and a part of the rest.

    So a night reads as much as was told lately; a week reads all.
    """
    names = ("window__customer_id", "window__meter_id")
    pairs = told.values_list(*names, "call__customer__external_id", "window__meter__code")
    fresh = set(told.filter(call__finished_at__gte=at - _NEWS).values_list(*names).distinct())
    standing = StripeDifference.objects.filter(resolved_at=None, subject__startswith=OF_MIRROR[0])
    open_ = [
        subject.rpartition(" on ")[0] for subject in standing.values_list("subject", flat=True)
    ]
    tonight = at.toordinal() % _NIGHTS
    for pair in pairs.order_by(*names).distinct():
        customer_id, meter_id, customer, meter = pair
        is_open = any(_subject(meter, customer, at).startswith(one) for one in open_)
        if (customer_id, meter_id) in fresh or is_open or customer_id % _NIGHTS == tonight:
            yield pair


def _of_untold(since: datetime, until: datetime) -> Iterator[Found]:
    """Compare what Stripe was told of hours with what is so by now, of hours it was told of."""
    rows = MirroredUsage.objects.filter(window=OuterRef("pk"))
    kept = rows.exclude(call__state=CallState.FAILED).order_by().values("window")
    windows = UsageWindow.objects.filter(
        Exists(rows), ~Exists(rows.filter(call__state__in=OPEN)), start_at__gte=since,
        start_at__lt=until, updated_at__lt=until - _SETTLED,
    )  # fmt: skip
    sums = kept.annotate(sum=Sum("quantity")).values("sum")
    moved = windows.annotate(told=Coalesce(Subquery(sums), Decimal(0))).exclude(quantity=F("told"))
    days = moved.annotate(day=TruncDay("start_at", tzinfo=UTC)).values(
        "customer__external_id", "meter__code", "day"
    )
    for row in days.annotate(now=Sum("quantity"), was=Sum("told")).order_by("day", "meter__code"):
        subject = _subject(row["meter__code"], row["customer__external_id"], row["day"])
        yield Found(
            "amount", f"{subject} as told"[:120], plain(row["now"]), plain(row["was"]), ENGINEERING
        )


def _days_of(rows: QuerySet[MirroredUsage]) -> dict[datetime, Decimal]:
    days = rows.annotate(day=TruncDay("window__start_at", tzinfo=UTC)).values("day").order_by("day")
    return {row["day"]: row["told"] for row in days.annotate(told=Sum("quantity"))}


def _subject(meter: str, customer: str, day: datetime) -> str:
    return f"usage of {meter} by {customer} on {day:%Y-%m-%d}"[:120]


def _of_copies(since: datetime, until: datetime) -> Iterator[Found]:
    there = {one["id"]: one for one in list_all("invoices", since, until)}
    ends = StripeCall.objects.filter(kind=CallKind.END, state=CallState.DONE, params__name=INVOICES)
    told = dict(ends.order_by("id").values_list("params__id", "params__verb"))
    for call in _done(CallKind.COPY, since, until):
        invoice = Invoice.objects.get(pk=int(call.subject.partition(":")[2]))
        ours = to_stripe(invoice.total_minor, invoice.currency)
        theirs = there.get(call.stripe_id)
        subject = f"copy of {invoice.number}"
        if theirs is None or theirs["total"] != ours:
            yield _unlike(subject, ours, None if theirs is None else theirs["total"])
        elif theirs["status"] not in _STATUSES[told.get(call.stripe_id, "")]:
            here = _STATUSES[told.get(call.stripe_id, "")][0]
            yield Found("state", subject, here, theirs["status"], ENGINEERING)


def _of_grants(since: datetime, until: datetime) -> Iterator[Found]:
    calls = list(_done(CallKind.GRANT, since, until))
    customers = {call.params["customer"] for call in calls}
    there = {
        one["id"]: one
        for customer in sorted(customers)
        for one in of_customer("billing/credit_grants", customer)
    }
    ended = StripeCall.objects.filter(kind=CallKind.END, state=CallState.DONE, params__name=GRANTS)
    voided = set(ended.filter(params__verb="void").values_list("params__id", flat=True))
    for call in calls:
        subject, ours = call.subject.replace(":", " "), call.params["amount"]["monetary"]["value"]
        one = there.get(call.stripe_id)
        theirs = None if one is None else one["amount"]["monetary"]["value"]
        if one is None or theirs != ours:
            yield _unlike(subject, ours, theirs)
        elif (one["voided_at"] is not None) != (call.stripe_id in voided):
            states = {True: "voided", False: "in force"}
            here, at_stripe = states[call.stripe_id in voided], states[one["voided_at"] is not None]
            yield Found("state", subject, here, at_stripe, ENGINEERING)


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
