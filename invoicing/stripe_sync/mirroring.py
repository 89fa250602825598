"""Tell Stripe what was used, granted and invoiced: a mirror to read there, which bills nobody.

Off unless STRIPE_MIRROR says so. What came within the last 35 days and was not told is written down
as calls; `sending` sends them, as it sends payments. Stripe takes usage of no other time. What is
told of an hour are differences: a corrected window adds, or takes away, what it moved by.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import takewhile

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from billing_project.kernel.apart import each_apart
from billing_project.kernel.models import User
from billing_project.kernel.period import HOUR
from credits.models import CreditGrant
from invoicing.models import (
    CallKind,
    CallState,
    Invoice,
    InvoiceStatus,
    MirroredUsage,
    StripeCall,
    StripeCustomer,
    StripeMeter,
)
from invoicing.stripe_sync import gateway
from invoicing.stripe_sync.calls import NOT_MADE, OPEN, finish, new_call, write_call
from invoicing.stripe_sync.copying import (
    copy_of,
    event_name_of,
    grant_of,
    lines_of,
    usage_of,
)
from invoicing.stripe_sync.customers import ask_for_customer
from invoicing.stripe_sync.gateway import Answer, Json, Outcome
from invoicing.stripe_sync.mirror_ends import ENDS_UNTOLD, next_ends
from invoicing.stripe_sync.mirrored import was_told
from invoicing.stripe_sync.policy import NotChargeable
from metering.models import Aggregation, Meter, UsageWindow
from metering.services.customers import lock_customer

BACK = timedelta(days=35) - HOUR  # Stripe takes 35 days; a call may wait for a while.
# Hours of these add up to days and months; of a maximum or of distinct values they do not.
ADDS_UP = (Aggregation.SUM, Aggregation.COUNT, Aggregation.TIME_WEIGHTED_SUM)
_WINDOWS_AT_ONCE = 200  # Of a customer, in one transaction.

# Customers of whom something of the span was not told.
_WITH_NEWS = """
SELECT w.customer_id FROM usage_window w JOIN stripe_meter m ON m.meter_id = w.meter_id
 WHERE w.start_at > %(since)s AND w.start_at <= %(until)s
   AND NOT EXISTS (SELECT FROM mirrored_usage u
                     JOIN stripe_call c ON c.id = u.call_id
                    WHERE u.window_id = w.id AND u.revision >= w.revision
                      AND NOT (c.state = 'failed' AND c.error_code = 'not_made'))
   AND w.quantity <> (SELECT coalesce(sum(u.quantity), 0) FROM mirrored_usage u
                        JOIN stripe_call c ON c.id = u.call_id AND c.state <> 'failed'
                       WHERE u.window_id = w.id)
UNION
SELECT g.customer_id FROM credit_grant g
 WHERE g.created_at > %(since)s AND g.price_minor > 0 AND g.origin_id IS NULL
   AND NOT EXISTS (SELECT FROM stripe_call c
                    WHERE c.kind = 'grant' AND c.subject = 'grant:' || g.id)
UNION
SELECT i.customer_id FROM invoice i
 WHERE i.finalized_at > %(since)s AND i.status <> 'void'
   AND NOT EXISTS (SELECT FROM stripe_call c
                    WHERE c.kind = 'copy' AND c.subject = 'invoice:' || i.id)
"""


def is_on() -> bool:
    """Tell whether Stripe is told what happens here."""
    return bool(settings.STRIPE_MIRROR) and gateway.is_on()


def ask_for_mirror(*, by: User, at: datetime, is_over: Callable[[], bool] = lambda: False) -> int:
    """Write down what Stripe was not told of the last 35 days; return how many calls.

    Safe to run twice at once, and after a run that died: each customer is told of under their lock.

    Args:
        is_over: Asked before each customer; the others wait for the next run.
    """
    asked = _ask_for_meters(at)
    with connection.cursor() as cursor:
        news = f"{_WITH_NEWS} UNION {ENDS_UNTOLD} ORDER BY 1"
        cursor.execute(news, {"since": at - BACK, "until": at - HOUR})
        customer_ids = [pk for (pk,) in cursor.fetchall()]
    in_time = takewhile(lambda _: not is_over(), customer_ids)
    return asked + each_apart(in_time, partial(_ask_of, by=by, at=at), step="mirror")


def look_up(call: StripeCall) -> Answer:
    """Say what came of telling of an hour, where no key and no identifier says so any more.

    Raises:
        Unreachable: Stripe does not answer.
    """
    is_told = was_told(call.usage)
    if is_told:
        return Answer(Outcome.DONE, {"id": call.params["identifier"]})
    code = NOT_MADE if is_told is False else "cannot_be_told_apart"
    return Answer(Outcome.REFUSED, code=code)


def take_meter(call: StripeCall, found: Json, by: User, at: datetime) -> None:
    """Keep the name that Stripe gave a meter."""
    meter_id = int(call.subject.partition(":")[2])
    StripeMeter.objects.get_or_create(
        meter_id=meter_id, defaults={"stripe_id": found["id"], "created_at": at}
    )


def take_copy(call: StripeCall, found: Json, by: User, at: datetime) -> None:
    """Ask for the lines of an invoice's copy, now that there is one."""
    invoice = Invoice.objects.get(pk=int(call.subject.partition(":")[2]))
    for number, lines in enumerate(lines_of(invoice), start=1):
        subject = f"{call.subject}:{number}"
        write_call(
            kind=CallKind.COPY_LINES, subject=subject, customer_id=call.customer_id,
            params={"invoice": found["id"], "lines": lines}, at=at,
        )  # fmt: skip


@transaction.atomic
def _ask_for_meters(at: datetime) -> int:
    known = StripeMeter.objects.values("meter_id")
    meters = Meter.objects.select_for_update(no_key=True).filter(aggregation__in=ADDS_UP)
    asked = 0
    for meter in meters.exclude(pk__in=known).order_by("pk"):
        subject = f"meter:{meter.pk}"
        if StripeCall.objects.filter(kind=CallKind.METER, subject=subject).exists():
            continue  # It is on its way, or was refused: then a person looks at it.
        params: Json = {
            "display_name": meter.name, "event_name": event_name_of(meter),
            "default_aggregation": {"formula": "sum"},
        }  # fmt: skip
        write_call(kind=CallKind.METER, subject=subject, customer_id=None, params=params, at=at)
        asked += 1
    return asked


@transaction.atomic
def _ask_of(customer_id: int, by: User, at: datetime) -> int:
    """Write the calls about one customer; first of all the one that makes them known there."""
    customer = lock_customer(customer_id)
    known = StripeCustomer.objects.filter(customer=customer).first()
    if known is None:
        refused = StripeCall.objects.filter(
            kind=CallKind.CUSTOMER, subject=f"customer:{customer_id}", state=CallState.FAILED
        )
        if not refused.exists():
            ask_for_customer(customer=customer, by=by, at=at)
        return 0
    asked = _usage(customer_id, known.stripe_id, at)
    for kind, subject, words in _objects(customer_id, known.stripe_id, at):
        _write(kind, subject, words, customer_id, at)
        asked += 1
    for step in next_ends(customer_id):
        _write(step.kind, step.subject, step.words, customer_id, at)
        asked += 1
    return asked


def _write(
    kind: CallKind, subject: str, words: Callable[[], Json], customer_id: int, at: datetime
) -> None:
    """Write a call; one that cannot be said exactly is refused here, with its reason."""
    try:
        params, why = words(), ""
    except NotChargeable as error:
        params, why = {}, str(error)
    call = write_call(kind=kind, subject=subject, customer_id=customer_id, params=params, at=at)
    if why:
        call.error_code, call.error = "not_chargeable", why
        finish(call, CallState.FAILED, at)


def _usage(customer_id: int, stripe_id: str, at: datetime) -> int:
    """Write what the customer's windows moved by since Stripe was told of them."""
    windows = list(_untold(customer_id, at)[:_WINDOWS_AT_ONCE])
    told = _told_of(windows)
    on_their_way = set(
        MirroredUsage.objects.filter(window__in=windows, call__state__in=OPEN).values_list(
            "window_id", flat=True
        )
    )
    rows = []
    for window in windows:
        count, quantity = told.get(window.pk, (0, Decimal(0)))
        moved = window.quantity - quantity
        if not moved or window.pk in on_their_way:
            continue
        call = new_call(
            kind=CallKind.USAGE, subject=f"window:{window.pk}", generation=count + 1,
            customer_id=customer_id, params=usage_of(window, moved, stripe_id), at=at,
        )  # fmt: skip
        rows.append(
            MirroredUsage(window=window, revision=window.revision, quantity=moved, call=call)
        )
    StripeCall.objects.bulk_create(row.call for row in rows)
    MirroredUsage.objects.bulk_create(rows)
    return len(rows)


def _untold(customer_id: int, at: datetime) -> QuerySet[UsageWindow]:
    rows = MirroredUsage.objects.filter(window=OuterRef("pk"))
    newest = rows.exclude(call__error_code=NOT_MADE, call__state=CallState.FAILED).order_by(
        "-revision"
    )
    windows = UsageWindow.objects.filter(
        customer_id=customer_id, start_at__gt=at - BACK, start_at__lte=at - HOUR,
        meter__in=StripeMeter.objects.values("meter_id"),
    )  # fmt: skip
    kept = MirroredUsage.objects.filter(window=OuterRef("pk")).exclude(call__state=CallState.FAILED)
    sums = kept.order_by().values("window").annotate(sum=Sum("quantity")).values("sum")
    told = windows.alias(
        told=Coalesce(Subquery(newest.values("revision")[:1]), 0),
        has=Coalesce(Subquery(sums), Decimal(0)),
    )
    untold = told.filter(told__lt=F("revision")).exclude(quantity=F("has"))
    return untold.select_related("meter").order_by("start_at", "pk")


def _told_of(windows: Sequence[UsageWindow]) -> dict[int, tuple[int, Decimal]]:
    """Return how often Stripe was told of windows, and what it has of each."""
    told: dict[int, tuple[int, Decimal]] = {}
    rows = MirroredUsage.objects.filter(window__in=windows)
    for window_id, quantity, state in rows.values_list("window_id", "quantity", "call__state"):
        count, total = told.get(window_id, (0, Decimal(0)))
        told[window_id] = count + 1, total + (quantity if state != CallState.FAILED else 0)
    return told


def _objects(
    customer_id: int, stripe_id: str, at: datetime
) -> Iterator[tuple[CallKind, str, Callable[[], Json]]]:
    """Yield the grants and invoices that Stripe was not told of, and the words for each."""
    known = _subjects(customer_id)
    grants = CreditGrant.objects.filter(
        customer_id=customer_id, created_at__gt=at - BACK, price_minor__gt=0, origin=None
    )
    for grant in grants.order_by("pk"):
        if f"grant:{grant.pk}" not in known:
            yield CallKind.GRANT, f"grant:{grant.pk}", partial(grant_of, grant, stripe_id, at)
    issued = Invoice.objects.filter(customer_id=customer_id, finalized_at__gt=at - BACK)
    for invoice in issued.exclude(status=InvoiceStatus.VOID).order_by("sequence"):
        if f"invoice:{invoice.pk}" not in known:
            yield CallKind.COPY, f"invoice:{invoice.pk}", partial(copy_of, invoice, stripe_id)


def _subjects(customer_id: int) -> set[str]:
    calls = StripeCall.objects.filter(
        customer_id=customer_id, kind__in=(CallKind.GRANT, CallKind.COPY)
    )
    return set(calls.values_list("subject", flat=True))
