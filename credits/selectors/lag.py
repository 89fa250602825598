"""How far behind the balances are: usage that is stored, but not yet rated."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing_project.kernel import outbox
from metering.selectors.lag import (
    AggregationState,
    aggregation_state,
    aggregation_waits_by_customer,
    seconds_between,
)


class RatingState(NamedTuple):
    """All usage that was stored before `as_of` is in the balances."""

    as_of: datetime
    lag_seconds: Decimal  # >= 0, to the microsecond.


def rating_state(at: datetime, counted: AggregationState | None = None) -> RatingState:
    """Return since when usage waits to be aggregated or rated; nothing waits: no lag.

    Looks along the chain: what moves on between the two looks is seen by the second. A balance that
    is read afterwards, as of then, holds all that is claimed here.

    Args:
        counted: The first look, if it was taken just now.
    """
    aggregated = (counted or aggregation_state(at)).as_of
    waiting_since = outbox.oldest("usage_changed")
    as_of = aggregated if waiting_since is None else min(aggregated, waiting_since)
    return RatingState(as_of, seconds_between(as_of, at))


def rating_waits_by_customer(
    until: datetime, customer_id: int | None = None
) -> dict[int, datetime]:
    """Return since when usage of each customer is in no balance that was stored until an instant.

    Two looks along the chain, as above; what waits for a rate is not late, and not told of here.
    """
    found = aggregation_waits_by_customer(until, customer_id)
    for pk, since in outbox.oldest_by_object("usage_changed", until, customer_id).items():
        found[pk] = min(since, found.get(pk, since))
    return found
