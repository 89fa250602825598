"""Keep events that could not take effect: Stripe brings them again a few times, then they rest.

What rests changes nothing here. The daily reconciliation shows it, with who answers for it.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from billing_project.kernel.errors import Conflict
from invoicing.models import ParkedEvent, ParkReason, StripeEvent
from invoicing.stripe_sync.comparing import ENGINEERING, FINANCE, Found
from invoicing.stripe_sync.gateway import Json, is_live

DELIVERIES = 3  # What Stripe does not know may be younger than its event: it is asked again.
_OWNERS = {
    ParkReason.UNKNOWN_OBJECT: ENGINEERING,
    ParkReason.ELSEWHERE: ENGINEERING,
    ParkReason.DOES_NOT_FIT: FINANCE,
}
_LONGEST, _LONGEST_ID = 300, 100


class Elsewhere(Conflict):
    """An event is of another account, or of the mode that our key is not of."""

    code = "elsewhere"


def refuse_elsewhere(event: Json) -> None:
    """Refuse events that our key cannot ask about.

    Raises:
        Elsewhere: it is of a connected account, or live where we test, or the reverse.
    """
    if account := event.get("account"):
        raise Elsewhere(f"it is of the account {account}, not of ours")
    is_ours, is_theirs = is_live(), event.get("livemode")
    if isinstance(is_theirs, bool) and is_ours is not None and is_ours is not is_theirs:
        modes = {True: "live", False: "test"}
        raise Elsewhere(f"it is of {modes[is_theirs]} mode, and our key of {modes[is_ours]} mode")


@transaction.atomic
def keep_aside(
    *, event: StripeEvent, object_id: str, reason: ParkReason, detail: str, at: datetime
) -> bool:
    """Count a delivery that took no effect; tell whether the event is parked by now.

    Args:
        event: Not stored.
        object_id: What Stripe was asked about.
    """
    about = object_id[:_LONGEST_ID]
    first = {"type": event.type, "object_id": about, "first_at": at, "last_at": at}
    ParkedEvent.objects.get_or_create(stripe_id=event.stripe_id, defaults=first)
    row = ParkedEvent.objects.select_for_update().get(stripe_id=event.stripe_id)
    row.reason, row.detail, row.owner = reason, detail[:_LONGEST], _OWNERS[reason]
    row.delivery_count, row.last_at = row.delivery_count + 1, at
    if reason != ParkReason.UNKNOWN_OBJECT or row.delivery_count >= DELIVERIES:
        row.parked_at = row.parked_at or at
    row.save()
    return row.parked_at is not None


def parked_events() -> QuerySet[ParkedEvent]:
    """List events that rest and took no effect since, the oldest first."""
    taken = StripeEvent.objects.filter(stripe_id=OuterRef("stripe_id"))
    return ParkedEvent.objects.filter(~Exists(taken), parked_at__isnull=False).order_by("id")


def as_difference(event: ParkedEvent) -> Found:
    """Say of a parked event what only Stripe has."""
    there = f"{event.type} of {event.object_id}: {event.detail}"
    return Found("only_there", f"event {event.stripe_id}", "", there[:200], event.owner)
