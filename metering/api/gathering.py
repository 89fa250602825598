"""Single events of one process, gathered: those that arrive together share one transaction.

Each request waits for the commit of its own event and gets its own answer. A batch has its
transaction already and does not come here.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import groupby

from django.db import DatabaseError, InterfaceError, OperationalError
from rest_framework.exceptions import AuthenticationFailed

from billing_project.kernel import clock
from billing_project.kernel.keys import live_key_ids
from billing_project.kernel.models import ApiKey
from billing_project.kernel.rest.auth import REVOKED
from metering.events import BadItem, EventInput
from metering.services.capture import CaptureResult, ItemResult, capture_events

_MOST = 500  # Events of one transaction.
_LINGER_MILLISECONDS = 8  # Where requests came together last time, more are on their way.
Item = EventInput | BadItem
Capture = Callable[[Sequence[Item], str, datetime], CaptureResult]


class _Report:
    """One event on its way, and what came of it."""

    def __init__(self, item: Item, key: ApiKey) -> None:
        self.item, self.key = item, key
        self.answer: ItemResult | None = None  # None is plainly accepted.
        self.error: Exception | None = None
        self.is_done = False


def _capture(items: Sequence[Item], sender: str, at: datetime) -> CaptureResult:
    return capture_events(items=items, sender=sender, at=at)


class Gatherer:
    """Lets one thread at a time store what all of them brought."""

    def __init__(self, capture: Capture = _capture) -> None:
        self._capture = capture
        self._waiting: deque[_Report] = deque()
        self._turn = threading.Lock()
        self._is_busy = False

    def store(self, item: Item, key: ApiKey) -> ItemResult | None:
        """Store one event together with those that wait; return once it is committed.

        Args:
            key: As it was remembered; whether it is still live is asked here.

        Returns:
            None if it was plainly accepted.

        Raises:
            AuthenticationFailed: the key was revoked.
        """
        report = _Report(item, key)
        self._waiting.append(report)
        while not report.is_done:
            with self._turn:  # Whoever waited here may find that somebody took theirs along.
                if not report.is_done:
                    self._store_some()
        if report.error is not None:
            raise report.error
        return report.answer

    def _store_some(self) -> None:
        if self._is_busy:
            time.sleep(_LINGER_MILLISECONDS / 1000)
        self._is_busy = len(self._waiting) > 1
        reports = [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]
        try:
            reports.sort(key=_key_of)
            live = live_key_ids({_key_of(report) for report in reports})
            for key_id, group in groupby(reports, key=_key_of):
                if key_id in live:
                    self._store_apart(list(group))
                else:
                    _end(group, AuthenticationFailed(REVOKED))
        except (DatabaseError, InterfaceError) as error:  # Nobody could be served: all ask again.
            _end((report for report in reports if not report.is_done), error)
        finally:
            cut_off = InterfaceError("the thread that stored this was cut off")
            _end((report for report in reports if not report.is_done), cut_off)

    def _store_apart(self, reports: list[_Report]) -> None:
        """Store reports in one transaction; if one of them makes it fail, each in its own."""
        items, sender = [report.item for report in reports], reports[0].key.name
        try:
            result = self._capture(items, sender, clock.now())
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - it is raised in the request that it belongs to
            if len(reports) == 1:
                _end(reports, error)
            else:
                for report in reports:
                    self._store_apart([report])
        else:
            for answer in result.results:
                reports[answer.index].answer = answer
            _end(reports)


def _key_of(report: _Report) -> int:
    return report.key.pk


def _end(reports: Iterable[_Report], error: Exception | None = None) -> None:
    for report in reports:
        report.error = error
        report.is_done = True


GATHERER = Gatherer()  # Of this process.
