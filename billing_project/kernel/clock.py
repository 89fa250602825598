"""The one place that reads the clock; only api, admin, console and tasks ask it.

`BILLING_CLOCK` sets it, in demo and tests only (settings refuse it in production): an ISO instant,
or `@path` of a file that holds one, so that a running server can be moved.
"""

from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings


def now() -> datetime:
    """Return the present instant in UTC, or the one that BILLING_CLOCK sets."""
    source: str = settings.BILLING_CLOCK
    if not source:
        return datetime.now(UTC)
    text = Path(source[1:]).read_text().strip() if source.startswith("@") else source
    return datetime.fromisoformat(text).astimezone(UTC)
