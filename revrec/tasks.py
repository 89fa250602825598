"""What the worker runs; safe to run twice at once, and to lose."""

import logging
from collections.abc import Callable
from datetime import timedelta

from billing_project.kernel.clock import now
from billing_project.kernel.users import worker_user
from revrec.services.anchoring import OlderState
from revrec.services.packs import make_waiting_packs, ring_worker, waiting_packs
from revrec.services.recognise import recognise_pending

logger = logging.getLogger(__name__)
REST = timedelta(seconds=30)  # Under steady use each customer's books move twice a minute.


def recognise() -> int:
    """Bring the books up to date with all that waits; return the number of entries posted."""
    return _unless_older(lambda: recognise_pending(by=worker_user(), at=now()))


def recognise_gathered() -> int:
    """Bring the books up to date with what has gathered; return the number of entries posted."""
    return _unless_older(lambda: recognise_pending(by=worker_user(), at=now(), rest=REST))


def _unless_older(recognise_some: Callable[[], int]) -> int:
    """Post nothing onto a state that is older than the last seal: facts wait until it is mended.

    The page of exceptions and /readyz say so as long as it lasts.
    """
    try:
        return recognise_some()
    except OlderState as error:
        logger.error("books older than their seal", extra={"missing": error.message})
        return 0


def make_packs() -> int:
    """Make the audit packs that wait; return how many are done now."""
    return make_waiting_packs(now=now)


def ring_packs() -> int:
    """Find audit packs that wait and whose ring was lost; return how many wait.

    A ring may take an hour. It may be rung again meanwhile: a pack is made by one at a time.
    """
    waiting = waiting_packs().count()
    if waiting:
        ring_worker()
    return waiting
