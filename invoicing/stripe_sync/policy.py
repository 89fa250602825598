"""When to ask again, and how Stripe writes amounts. Pure."""

import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta

KEY_LIFE = timedelta(hours=23)  # Stripe keeps a key for 24: an hour is left for clocks and queues.
_FIRST_SECONDS, _LONGEST_SECONDS = 30, 3600
# Stripe counts these in hundredths although they have none.
_HUNDREDFOLD = frozenset({"ISK", "UGX"})
# Stripe takes these in thousandths, but moves tens of them only.
_IN_TENS = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
# A bank that says so says it again: only another card helps.
_FINAL = frozenset(
    {
        *("authentication_required", "expired_card", "fraudulent", "incorrect_number"),
        *("invalid_account", "lost_card", "pickup_card", "restricted_card", "stolen_card"),
    }
)


class NotChargeable(ValueError):
    """Stripe cannot move this amount exactly."""


def wait(attempt: int, key: str) -> timedelta:
    """Return how long to wait after the n-th try: doubling to an hour, with a quarter of jitter.

    The jitter follows from the key, so that calls which failed together do not come back together.
    """
    seconds = min(_FIRST_SECONDS << min(attempt - 1, 10), _LONGEST_SECONDS)
    jitter = zlib.crc32(f"{key}:{attempt}".encode()) % (seconds // 4)
    return timedelta(seconds=seconds + jitter)


def is_key_alive(first_sent_at: datetime, at: datetime) -> bool:
    """Tell whether the same key still answers as it did."""
    return at - first_sent_at < KEY_LIFE


def next_try(declines: int, code: str, schedule: Sequence[int], at: datetime) -> datetime | None:
    """Return when to charge again after the n-th decline; None: never with this card.

    Args:
        declines: Including this one.
        code: The bank's reason.
        schedule: Days to wait after the first decline, the second one, and so on.
    """
    if code in _FINAL or declines > len(schedule):
        return None
    return at + timedelta(days=schedule[declines - 1])


def movable(amount_minor: int, currency: str) -> int:
    """Return how much of an amount Stripe can move: all of it, or whole tens."""
    return amount_minor - amount_minor % 10 if currency in _IN_TENS else amount_minor


def to_stripe(amount_minor: int, currency: str) -> int:
    """Return an amount as Stripe wants it.

    Raises:
        NotChargeable: Stripe does not move the last digit of this currency.

    Source: Stripe, supported currencies: zero-decimal, three-decimal and special cases.
    """
    if movable(amount_minor, currency) != amount_minor:
        raise NotChargeable(f"Stripe moves {currency} in tens of the smallest unit only")
    return amount_minor * 100 if currency in _HUNDREDFOLD else amount_minor


def from_stripe(amount: int, currency: str) -> int:
    """Return an amount in minor units."""
    return amount // 100 if currency in _HUNDREDFOLD else amount
