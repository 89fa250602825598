"""What the worker calls: each safe to lose, to double and to run twice at once."""

from datetime import timedelta
from functools import partial

from billing_project.kernel import clock
from billing_project.kernel.apart import each_apart
from billing_project.kernel.users import worker_user
from credits.services import alert_rules, watching
from credits.services.counting import watch_due_limits
from credits.services.forecasting import forecast_balances
from credits.services.grants import expire_due_grant, grants_due
from credits.services.holds import lapse_due_holds
from credits.services.rating import rate_pending
from credits.services.recurring import give_recurring_grants
from credits.services.telling import tell_alerts as mail_alerts

# So long what is left of a grant is not entered as expired: most late usage comes within it.
EXPIRY_GRACE = timedelta(hours=24)


def rate() -> int:
    """Rate what was used since the last run; return the rows of rated usage written."""
    return rate_pending(by=worker_user(), at=clock.now())


def expire_grants() -> int:
    """Enter the expiry of grants whose time and grace are over; return how many."""
    at = clock.now()
    expire = partial(expire_due_grant, by=worker_user(), at=at)
    return each_apart(grants_due(at=at, grace=EXPIRY_GRACE), expire, step="expire")


def watch_unrated() -> int:
    """Open and close episodes of usage without a rate; return how many are open."""
    return len(watching.watch_unrated(at=clock.now()))


def give_recurring() -> int:
    """Give what rules give for the periods that have begun; return how many grants."""
    return give_recurring_grants(by=worker_user(), at=clock.now())


def lapse_holds() -> int:
    """End holds whose time is over; return how many."""
    return lapse_due_holds(at=clock.now())


def watch_limits() -> int:
    """Warn of limits that usage reached without asking first; return how many have any."""
    return watch_due_limits(at=clock.now())


def forecast() -> int:
    """Warn of balances that run out before their period ends; return how many new ones."""
    return forecast_balances(at=clock.now())


def watch_rules() -> int:
    """Raise what the rules of alerts find; return how many are new."""
    return alert_rules.watch_rules(at=clock.now())


def tell_alerts() -> int:
    """Mail the alerts that nobody was told yet; return how many."""
    return mail_alerts(at=clock.now())
