"""When a webhook is tried again, and when its endpoint is given up.

Pure. A receiver is away for seconds, now and then for a day. The waits are those that Standard
Webhooks recommends, and add up to three days and a bit.
"""

from datetime import datetime, timedelta

WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=n) for n in (2, 5, 10, 14, 20, 24)),
)
MOST_TRIES = len(WAITS) + 1
PATIENCE = timedelta(days=5)  # Of an endpoint that takes nothing: then it is switched off.
GONE = 410  # "Do not send me anything any more."


def next_try(attempts: int, at: datetime) -> datetime | None:
    """Return when a webhook is tried again that failed `attempts` times, the last time at `at`.

    Worked example: after the first failure in five seconds, after the second one in five minutes;
    after the tenth never (None).
    """
    return at + WAITS[attempts - 1] if 0 < attempts <= len(WAITS) else None


def is_taken(status: int) -> bool:
    """Tell whether an answer says that the receiver has it: 2xx and nothing else."""
    return 200 <= status < 300


def why_to_disable(status: int | None, failing_since: datetime, at: datetime) -> str:
    """Say why an endpoint is switched off after a failure, or return ""."""
    if status == GONE:
        return "it answered 410: gone"
    if at - failing_since >= PATIENCE:
        return f"nothing was taken since {failing_since:%Y-%m-%d %H:%M} UTC"
    return ""
