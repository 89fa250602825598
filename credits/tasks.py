"""What the worker calls: each safe to lose, to double and to run twice at once."""

from datetime import timedelta

from billing_project.kernel import clock
from billing_project.kernel.users import worker_user
from credits.services import watching
from credits.services.grants import expire_due_grants
from credits.services.rating import rate_pending

# Usage from before a grant's end that is reported within this time still burns the grant.
EXPIRY_GRACE = timedelta(hours=24)


def rate() -> int:
    """Rate what was used since the last run; return the rows of rated usage written."""
    return rate_pending(by=worker_user(), at=clock.now())


def expire_grants() -> int:
    """Enter the expiry of grants whose time and grace are over; return how many."""
    return expire_due_grants(by=worker_user(), at=clock.now(), grace=EXPIRY_GRACE)


def watch_unrated() -> int:
    """Open and close episodes of usage without a rate; return how many are open."""
    return len(watching.watch_unrated(at=clock.now()))
