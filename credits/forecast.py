"""Tell when credits run out if they go on as in the last days; no tables, no clock.

What is left, and what a span of the past used, go in; an instant comes out. Nothing is said of what
is used up already, and nothing where nothing was used.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing_project.kernel.period import Period


@dataclass(frozen=True)
class Pace:
    """What a stretch of the past used, and what is left at its end.

    Attributes:
        span: The stretch; its end is the instant of the forecast.
        used: Credits of the stretch.
        left: Credits at its end.
    """

    span: Period
    used: Decimal
    left: Decimal


def runs_out_before(pace: Pace, end: datetime) -> datetime | None:
    """Return when what is left is used up, to the second, if that is before an instant.

    Returns:
        None: it lasts, nothing was used, or nothing is left.
    """
    if pace.used <= 0 or pace.left <= 0:
        return None
    seconds = (pace.span.end - pace.span.start) // timedelta(seconds=1)
    lasts = int(seconds * pace.left / pace.used)
    if lasts >= (end - pace.span.end) // timedelta(seconds=1):
        return None
    return pace.span.end + timedelta(seconds=lasts)
