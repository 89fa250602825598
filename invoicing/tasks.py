"""What the scheduler calls; each is safe to run twice at once and finds what is due by itself."""

from billing_project.kernel import clock
from billing_project.kernel.users import worker_user
from invoicing.services.closing import close_quiet_periods
from invoicing.services.deciding import settle_proposals
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.proposals import follow_overcharges
from invoicing.services.subscriptions import renew_due


def renew() -> int:
    """Open the periods of subscriptions that began."""
    return renew_due(by=worker_user(), at=clock.now())


def draft_overage() -> int:
    """Draft the overage of periods that ended."""
    return draft_overage_invoices(by=worker_user(), at=clock.now())


def finalize() -> int:
    """Issue the drafts whose grace is over."""
    return finalize_due(by=worker_user(), at=clock.now())


def close_quiet() -> int:
    """Close the usage of periods that ended with nothing to claim."""
    return close_quiet_periods(at=clock.now())


def propose_notes() -> int:
    """Issue the credit notes that were approved, and propose those that are due."""
    by, at = worker_user(), clock.now()
    return settle_proposals(by=by, at=at) + follow_overcharges(by=by, at=at)
