"""How far behind the balances are: usage that is stored, but not yet rated."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing_project.kernel import outbox
from metering.selectors.lag import aggregation_state

_MICROSECOND = Decimal(1).scaleb(-6)


class RatingState(NamedTuple):
    """All usage that was stored before `as_of` is in the balances."""

    as_of: datetime
    lag_seconds: Decimal  # >= 0, to the microsecond.


def rating_state(at: datetime) -> RatingState:
    """Return since when usage waits to be aggregated or rated; nothing waits: no lag.

    Looks along the chain: what moves on between the two looks is seen by the second. A balance that
    is read afterwards, as of then, holds all that is claimed here.
    """
    aggregated = aggregation_state(at).as_of
    waiting_since = outbox.oldest("usage_changed")
    as_of = aggregated if waiting_since is None else min(aggregated, waiting_since)
    lag = at - as_of
    seconds = lag.days * 86_400 + lag.seconds + lag.microseconds * _MICROSECOND
    return RatingState(as_of, Decimal(seconds))
