"""Tell when credits run out if they go on as in the last days; no tables, no clock.

What is left, and what each part of a stretch of the past used, go in; an instant comes out, and
only where it is sure. Few forecasts that come true are read; many that do not are not.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing_project.kernel.period import Period

_AGAIN = 2  # Said again only once there is so many times what was left when it was said.


@dataclass(frozen=True)
class Pace:
    """What a stretch of the past used, and what is left at its end.

    Attributes:
        span: The stretch; its end is the instant of the forecast.
        parts: Credits of each of its equal parts (days, hours), the oldest first; two or more.
        left: Credits at its end.
    """

    span: Period
    parts: tuple[Decimal, ...]
    left: Decimal

    @property
    def used(self) -> Decimal:
        """Credits of the whole stretch."""
        return sum(self.parts, Decimal(0))

    @property
    def part(self) -> timedelta:
        """How long a part is."""
        return (self.span.end - self.span.start) / len(self.parts)


def runs_out_before(pace: Pace, end: datetime) -> datetime | None:
    """Return when what is left is used up, to the second, if that is surely before an instant.

    It is sure where all of these hold:
    - more than half of the parts used credits: a day or two are no pace;
    - what is left does not last even without the part that used most: one burst is no pace;
    - it lasts no longer than was looked back on, so that about half of what there was is used;
    - it ends at least one part before the end.

    Returns:
        None: it lasts, nothing is sure, or nothing is left.
    """
    count = len(pace.parts)
    is_steady = 2 * sum(part > 0 for part in pace.parts) > count
    calm = pace.used - max(pace.parts)
    if not is_steady or calm <= 0 or pace.left <= 0:
        return None
    lasts = pace.left * (count - 1) / calm  # In parts.
    if lasts > count:
        return None
    seconds = int(lasts * (pace.part // timedelta(seconds=1)))
    out_at = pace.span.end + timedelta(seconds=seconds)
    return out_at if out_at <= end - pace.part else None


def is_said_again(left_when_said: Decimal, left: Decimal) -> bool:
    """Tell whether credits that came since begin another crossing; a few more do not."""
    return left >= _AGAIN * left_when_said
