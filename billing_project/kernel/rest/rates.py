"""How often one key may call: a bucket per key in each process, so that one loop spares the others.

It protects the service, it is no quota: every server process counts for itself, and a restart
forgets. Whoever sells a number of calls counts them elsewhere.
"""

import threading
import time
from collections import OrderedDict

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from billing_project.kernel.models import ApiKey

_SECOND = 1_000_000_000
_MOST_KEYS = 10_000  # Remembered; the one that called longest ago is forgotten first.
_BURST_SECONDS = 2


class Rates:
    """When each key's bucket is full again, in nanoseconds of the monotonic clock."""

    def __init__(self) -> None:
        self._full_at: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: int, per_second: int, now: int) -> int:
        """Count a call; return 0, or the nanoseconds until one would be allowed.

        Args:
            per_second: Calls in the long run; twice as many may come at once.
        """
        with self._lock:
            full_at = max(self._full_at.get(key, 0), now)
            wait = full_at + _SECOND // per_second - now - _BURST_SECONDS * _SECOND
            if wait > 0:
                return wait
            self._full_at[key] = full_at + _SECOND // per_second
            self._full_at.move_to_end(key)
            if len(self._full_at) > _MOST_KEYS:
                self._full_at.popitem(last=False)
        return 0


RATES = Rates()  # Of this process.


class KeyRate(BaseThrottle):
    """Answers 429 with Retry-After above API_CALLS_PER_SECOND of one key; 0 is no limit."""

    _wait = 0

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Count the call of the request's key."""
        per_second: int = settings.API_CALLS_PER_SECOND
        if per_second and isinstance(request.auth, ApiKey):
            self._wait = RATES.take(request.auth.pk, per_second, time.monotonic_ns())
        return not self._wait

    def wait(self) -> int:
        """Return whole seconds, at least one."""
        return self._wait // _SECOND + 1
