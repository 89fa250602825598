"""Run a business transaction again when PostgreSQL asks for it."""

import functools
import secrets
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import OperationalError, transaction

from billing_project.kernel.errors import BillingError
from billing_project.kernel.sessions import is_to_repeat

_P = ParamSpec("_P")
_R = TypeVar("_R")
_ATTEMPTS = 5
_CAUTIOUS_BATCHES = 100


class ClaimedMeanwhile(BillingError):
    """Another request stored one of the events after this one looked; looking again finds it."""

    code = "claimed_meanwhile"
    status_code = 503


class Caution:
    """Whether this process asks first what is stored, or copies a batch and sees.

    Most batches are all new. Where one was not, asking first is worth its price for a while.
    Threads may race: a batch more or less asks.
    """

    def __init__(self) -> None:
        self._batches = 0  # That still ask.

    def begin(self) -> None:
        """Ask from now on, for a while."""
        self._batches = _CAUTIOUS_BATCHES

    def spend(self) -> None:
        """Count a batch that asked."""
        self._batches = max(0, self._batches - 1)

    @property
    def is_due(self) -> bool:
        """Whether the next batch asks."""
        return self._batches > 0


CAUTION = Caution()  # Of this process.


def atomic_with_retries(service: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a service in a transaction; as the outermost one, repeat it whole after a deadlock.

    Inside somebody else's transaction the error goes up: only the outermost can start anew.
    """

    @functools.wraps(service)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        attempts = 1 if transaction.get_connection().in_atomic_block else _ATTEMPTS
        for attempt in range(1, attempts):
            try:
                with transaction.atomic():
                    return service(*args, **kwargs)
            except ClaimedMeanwhile:
                continue  # What was in the way is committed: nothing to wait for.
            except OperationalError as error:
                if not is_to_repeat(error):
                    raise
                time.sleep(attempt * secrets.randbelow(50) / 1000)
        with transaction.atomic():
            return service(*args, **kwargs)

    return run
