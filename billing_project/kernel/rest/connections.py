"""The database connection of a thread that answers without Django's handler around it."""

import threading
import time

from django.db import close_old_connections, connection

_TRUSTED_NANOSECONDS = 1_000_000_000


class _Trust(threading.local):
    """A connection that was good a moment ago is used unasked."""

    _checked_at = 0  # Nanoseconds of the monotonic clock.

    def check(self) -> None:
        """Do what Django does at the start of a request, at most once a second."""
        now = time.monotonic_ns()
        if now - self._checked_at > _TRUSTED_NANOSECONDS:
            if not connection.in_atomic_block:  # Then it is somebody's who looks after it.
                close_old_connections()
            self._checked_at = now

    def doubt(self) -> None:
        """Check anew before the next use."""
        self._checked_at = 0


CONNECTION = _Trust()  # Of this thread.
