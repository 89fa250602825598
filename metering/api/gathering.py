"""Single events of one process, gathered: those that arrive together share one transaction.

Each request waits for the commit of its own event and gets its own answer. A batch has its
transaction already and does not come here.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from itertools import groupby

from django.db import DatabaseError, InterfaceError, OperationalError
from rest_framework.exceptions import AuthenticationFailed

from billing_project.kernel import clock
from billing_project.kernel.keys import live_key_ids
from billing_project.kernel.models import ApiKey
from billing_project.kernel.rest.auth import REVOKED
from billing_project.kernel.rest.connections import CONNECTION
from metering.events import BadItem, EventInput
from metering.services.capture import CaptureResult, ItemResult, capture_events
from metering.services.plain import store_plain_events

_MOST = 500  # Events of one transaction.
_LINGER_MILLISECONDS = 8  # Where requests came together last time, more are on their way.
Item = EventInput | BadItem
Capture = Callable[[Sequence[Item], str, datetime], CaptureResult]
StorePlain = Callable[[Sequence[Item], Sequence[int], datetime], Collection[int]]


class _Report:
    """One event on its way, and what came of it."""

    def __init__(self, item: Item, key: ApiKey) -> None:
        self.item, self.key = item, key
        self.answer: ItemResult | None = None  # None is plainly accepted.
        self.error: Exception | None = None
        self.is_done = False
        self._bell = threading.Lock()
        self._bell.acquire()

    def wait(self) -> None:
        """Sleep until `wake`."""
        self._bell.acquire()

    def wake(self) -> None:
        """Let the request go on: it is answered, or it is its turn to store."""
        self._bell.release()


def _capture(items: Sequence[Item], sender: str, at: datetime) -> CaptureResult:
    return capture_events(items=items, sender=sender, at=at)


def _store_plain(items: Sequence[Item], key_ids: Sequence[int], at: datetime) -> set[int]:
    return store_plain_events(items=items, key_ids=key_ids, at=at)


def _store_none(items: Sequence[Item], key_ids: Sequence[int], at: datetime) -> set[int]:
    return set()


class Gatherer:
    """Lets one request at a time store what all of them brought; the others sleep meanwhile."""

    def __init__(self, capture: Capture = _capture, store_plain: StorePlain = _store_none) -> None:
        self._capture, self._store_plain = capture, store_plain
        self._waiting: deque[_Report] = deque()
        self._lock = threading.Lock()
        self._is_led = False  # Somebody stores, or was woken to.
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
        with self._lock:
            self._waiting.append(report)
            leads, self._is_led = not self._is_led, True
        if not leads:
            report.wait()
        if not report.is_done:
            try:
                self._store_some()
            finally:
                self._pass_on(report)
        if report.error is not None:
            raise report.error
        return report.answer

    def _pass_on(self, report: _Report) -> None:
        """Let the next one store, if anybody came meanwhile."""
        with self._lock:
            if not report.is_done and report in self._waiting:  # Cut off before it began.
                self._waiting.remove(report)
            self._is_led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].wake()

    def _store_some(self) -> None:
        if self._is_busy:
            time.sleep(_LINGER_MILLISECONDS / 1000)
        with self._lock:
            reports = [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]
        self._is_busy = len(reports) > 1
        try:
            CONNECTION.check()
            self._store(self._not_plain(reports))
        except (DatabaseError, InterfaceError) as error:  # Nobody could be served: all ask again.
            CONNECTION.doubt()
            _end(_open(reports), error)
        finally:
            _end(_open(reports), InterfaceError("the thread that stored this was cut off"))
            for report in reports[1:]:  # The first one is the one that stores.
                report.wake()

    def _not_plain(self, reports: list[_Report]) -> list[_Report]:
        """Store what is plain and new; return the rest."""
        items = [report.item for report in reports]
        stored = self._store_plain(items, [report.key.pk for report in reports], clock.now())
        _end(reports[n] for n in stored)
        return _open(reports)

    def _store(self, reports: list[_Report]) -> None:
        if not reports:
            return
        reports.sort(key=_key_of)
        live = live_key_ids({_key_of(report) for report in reports})
        for key_id, group in groupby(reports, key=_key_of):
            if key_id in live:
                self._store_apart(list(group))
            else:
                _end(group, AuthenticationFailed(REVOKED))

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


def _open(reports: Iterable[_Report]) -> list[_Report]:
    return [report for report in reports if not report.is_done]


def _end(reports: Iterable[_Report], error: Exception | None = None) -> None:
    for report in reports:
        report.error = error
        report.is_done = True


GATHERER = Gatherer(store_plain=_store_plain)  # Of this process.
