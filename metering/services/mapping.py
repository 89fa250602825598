"""Mend the cause that events wait for, then store what waited for it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from metering.models import Customer, Meter
from metering.models.event import QuarantineReason
from metering.selectors.quarantine import Chosen
from metering.services.customers import add_alias
from metering.services.deciding import ensure_may_decide_reason
from metering.services.meters import create_meter
from metering.services.quarantine import ReplayedPart, ReplayResult, replay_part, replay_quarantine


def map_customer_id(
    *, external_id: str, customer: Customer, reason: str, by: User, at: datetime
) -> ReplayResult:
    """Let an unknown id name a customer, and store all that waited under it.

    The alias stands even if the replay is cut off: the rest can be replayed again.

    Raises:
        Invalid: no reason, or the id cannot be an alias.
        Conflict: the id names another customer already.
        NotAllowed: this person may replay nothing that is not late.
    """
    ensure_may_decide_reason(by, QuarantineReason.UNKNOWN_CUSTOMER)
    add_alias(external_id=external_id, customer=customer, reason=reason, by=by, at=at)
    return replay_quarantine(by=by, at=at, customer_external_id=external_id)


def map_customer_part(
    *, external_id: str, customer: Customer, reason: str, by: User, at: datetime
) -> ReplayedPart:
    """Do the same for at most a thousand rows; `left` says how many are still to be replayed."""
    ensure_may_decide_reason(by, QuarantineReason.UNKNOWN_CUSTOMER)
    add_alias(external_id=external_id, customer=customer, reason=reason, by=by, at=at)
    return replay_part(chosen=Chosen(customer_external_id=external_id), by=by, at=at)


def map_event_name(
    *, event_name: str, meter: Mapping[str, Any], reason: str, by: User, at: datetime
) -> tuple[Meter, ReplayedPart]:
    """Make a meter for an event name that nobody read, and store what waited for one.

    Args:
        meter: The fields of `create_meter` but for its event name.

    Raises:
        Invalid: no reason, or a rule that no event could be read by.
        NotAllowed: this person may replay nothing that is not late.
        Conflict: the meter's code has another rule.
    """
    if not reason.strip():
        raise Invalid("a mapping needs its reason")
    ensure_may_decide_reason(by, QuarantineReason.UNKNOWN_EVENT_NAME)
    made = create_meter(**{**meter, "event_name": event_name, "reason": reason}, by=by, at=at)
    waiting = Chosen(reason=QuarantineReason.UNKNOWN_EVENT_NAME, event_name=event_name)
    return made, replay_part(chosen=waiting, by=by, at=at)
