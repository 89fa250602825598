"""Django database backend for PostgreSQL: asks a database that is down only now and then.

While it does not answer, one thread tries and all others are refused at once, so that requests
fail within their two seconds instead of queueing behind connection attempts.
"""

import threading
import time
from typing import Any

import psycopg
from django.db.backends.postgresql import base

_PAUSE_NANOSECONDS = 500_000_000  # After a failure, until somebody tries again.
_TRIAL_NANOSECONDS = 5_000_000_000  # How long one trial keeps the others out.
# A refusal that says that the database lives; the next one to ask may find it open.
_ANSWERS = ("does not exist", "too many clients", "remaining connection slots are reserved")


class Gate:
    """Closed while the database is down, except for one trial at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed_until: int | None = None

    def enter(self) -> None:
        """Pass, or fail at once while somebody else tries or nobody should.

        Raises:
            OperationalError: the database was down a moment ago.
        """
        with self._lock:
            if self._closed_until is None:
                return
            now = time.monotonic_ns()
            if now < self._closed_until:
                raise psycopg.OperationalError("the database was down a moment ago")
            self._closed_until = now + _TRIAL_NANOSECONDS

    def note(self, *, is_down: bool) -> None:
        """Remember how a trial ended."""
        with self._lock:
            until = time.monotonic_ns() + _PAUSE_NANOSECONDS
            self._closed_until = until if is_down else None


GATE = Gate()  # Of this process.


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL; keeps no log of statements unless somebody asks for one."""

    @property
    def queries_logged(self) -> bool:
        """Tell whether statements are kept: with DEBUG, Django would keep a batch's five MiB."""
        return bool(self.force_debug_cursor)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect, unless that failed a moment ago."""
        GATE.enter()
        try:
            connection = super().get_new_connection(conn_params)
        except psycopg.Error as error:
            GATE.note(is_down=not any(answer in str(error) for answer in _ANSWERS))
            raise
        GATE.note(is_down=False)
        return connection
