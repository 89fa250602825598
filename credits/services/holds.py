"""End holds: settled by the event that it was, released, or lapsed by time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection, transaction

from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Conflict, NotFound
from billing_project.kernel.quantity import plain
from credits.models import Hold, HoldState
from credits.selectors.estimates import Estimator
from metering.models import Customer, EventIdentity, MeterEvent
from metering.services.customers import lock_customer

_ZERO = Decimal(0)
# A settled hold is in the ledger once its event's batch is in the windows and no note as old as
# that says that windows of its customer wait to be rated; both are written in the transaction of
# their effect. Later notes are of later usage: a busy customer is never without one. An event that
# is archived is in the ledger: only what is aggregated is.
_COUNTED = """
UPDATE hold h SET counted_at = %(at)s
FROM event_identity i
LEFT JOIN meter_event e
  ON e.id = i.event_id AND e.customer_id = i.customer_id AND e."timestamp" = i."timestamp"
LEFT JOIN event_batch b ON b.id = e.batch_id
WHERE h.customer_id = %(customer)s AND h.state = 'settled' AND h.counted_at IS NULL
  AND i.customer_id = h.customer_id AND i.identifier = h.identifier
  AND (e.id IS NULL OR b.aggregated_at IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM outbox_message o
                  WHERE o.topic = 'usage_changed' AND o.object_id = h.customer_id
                    AND o.created_at <= greatest(b.aggregated_at, b.received_at))
"""


def hold_called(key: str) -> Hold:
    """Return the hold of a name.

    Raises:
        NotFound: no hold is called so.
    """
    rows = Hold.objects.select_related("customer", "workspace", "pricing_unit", "authorization")
    hold = rows.filter(key=key).first()
    if hold is None:
        raise NotFound(f"no hold is called {key}", code="unknown_hold")
    return hold


@transaction.atomic
def settle_hold(*, hold: Hold, identifier: str, at: datetime) -> Hold:
    """Name the event that the work became; what was held too much is given back.

    Where the event is not stored yet, the hold stays for another life of its own, and is settled
    when the event comes. What the event costs stays held until the balance has it.

    Raises:
        Conflict: the hold ended otherwise, or was settled by another event; or another hold was
            settled by this one.
    """
    customer = lock_customer(hold.customer_id)
    locked = Hold.objects.select_for_update(no_key=True).get(pk=hold.pk)
    if locked.identifier and locked.identifier != identifier:
        raise Conflict(f"{locked.key} is settled by {locked.identifier}", code="hold_ended")
    if locked.state == HoldState.SETTLED:
        return locked
    if locked.state == HoldState.RELEASED:
        raise Conflict(f"{locked.key} was released", code="hold_ended")
    _refuse_taken(locked, identifier)
    if locked.state == HoldState.LAPSED or (not locked.identifier and locked.expires_at <= at):
        raise Conflict(f"{locked.key} lapsed: its credits are free again", code="hold_ended")
    locked.identifier = identifier
    locked.expires_at = max(locked.expires_at, at + timedelta(seconds=locked.ttl_seconds))
    locked.save(update_fields=["identifier", "expires_at"])
    count_settled(customer, at)
    locked.refresh_from_db()
    return locked


@transaction.atomic
def release_hold(*, hold: Hold, at: datetime) -> Hold:
    """Give all of a hold back: the work did not happen. Again changes nothing.

    Said of a hold that lapsed, it gives back what that counts against its job and key; its credits
    are free already.

    Raises:
        Conflict: it is settled, or lapsed before the event came that it was to be settled by.
    """
    lock_customer(hold.customer_id)
    locked = Hold.objects.select_for_update(no_key=True).get(pk=hold.pk)
    if locked.state == HoldState.SETTLED or (locked.state == HoldState.OPEN and locked.identifier):
        raise Conflict(f"{locked.key} is settled by {locked.identifier}", code="hold_ended")
    named = EventIdentity.objects.filter(customer=hold.customer_id, identifier=locked.identifier)
    if locked.state == HoldState.LAPSED and locked.identifier and named.exists():
        raise Conflict(f"{locked.key} happened: it is {locked.identifier}", code="hold_ended")
    if locked.state in (HoldState.OPEN, HoldState.LAPSED):
        locked.state, locked.ended_at = HoldState.RELEASED, at
        locked.save(update_fields=["state", "ended_at"])
    return locked


@transaction.atomic
def lapse_holds(*, customer_id: int, at: datetime) -> int:
    """End the open holds of a customer whose time is over; return how many."""
    customer = lock_customer(customer_id)
    count_settled(customer, at)
    over = Hold.objects.filter(customer=customer, state=HoldState.OPEN, expires_at__lte=at)
    return over.update(state=HoldState.LAPSED, ended_at=at)


def lapse_due_holds(*, at: datetime) -> int:
    """End every hold whose time is over, each customer's apart; return how many."""
    due = Hold.objects.filter(state=HoldState.OPEN, expires_at__lte=at)
    customers = due.order_by("customer_id").values_list("customer_id", flat=True).distinct()

    def lapse(customer_id: int) -> int:
        return lapse_holds(customer_id=customer_id, at=at)

    return each_apart(customers, lapse, step="lapse_holds")


def count_settled(customer: Customer, at: datetime) -> None:
    """Settle the holds whose events have come, and let go those that the balance has.

    The caller has the customer locked.
    """
    named = Hold.objects.filter(customer=customer, counted_at__isnull=True).exclude(identifier="")
    waiting = list(
        named.filter(state__in=[HoldState.OPEN, HoldState.SETTLED]).select_related("workspace")
    )
    if not waiting:
        return
    is_open = {hold.identifier: hold for hold in waiting if hold.state == HoldState.OPEN}
    known = EventIdentity.objects.filter(customer=customer, identifier__in=is_open)
    for identity in known if is_open else ():
        _settle_by_event(customer, is_open[identity.identifier], identity, at)
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED, {"customer": customer.pk, "at": at})


def _settle_by_event(customer: Customer, hold: Hold, identity: EventIdentity, at: datetime) -> None:
    """Settle a hold at what its event costs."""
    event = MeterEvent.objects.filter(
        pk=identity.event_id, customer=customer, timestamp=identity.timestamp
    ).first()
    if event is not None:  # Otherwise it is archived already, and its estimate stands.
        parts = _cost(customer, event)
        hold.credits = sum(parts.values(), _ZERO)
        hold.parts = {code: plain(amount) for code, amount in parts.items()}
    hold.state, hold.ended_at = HoldState.SETTLED, at
    hold.save(update_fields=["credits", "parts", "state", "ended_at"])


def _cost(customer: Customer, event: MeterEvent) -> Mapping[str, Decimal]:
    """Price an event as rating will; what has no price holds nothing: its usage waits, unrated."""
    estimator = Estimator(customer, event.timestamp)
    return estimator.price_event(event.properties, event.workspace_id, event.event_name).parts


def _refuse_taken(hold: Hold, identifier: str) -> None:
    other = Hold.objects.filter(customer_id=hold.customer_id, identifier=identifier)
    if taken := other.exclude(pk=hold.pk).first():
        raise Conflict(f"{identifier} settled {taken.key}", code="event_settled_another_hold")
