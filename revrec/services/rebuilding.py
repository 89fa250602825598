"""Write the journal again, from nothing: what was known by each close, then all the rest.

The steps are those of a close and of every day; only the checklist and the signature, which people
answer for, are left out.
"""

from collections.abc import Mapping
from datetime import datetime

from billing_project.kernel.models import User
from metering.models import Customer
from revrec.models import AccountingPeriod
from revrec.services.estimates import true_up
from revrec.services.recognise import recognise_customer
from revrec.services.revaluing import revalue


def recognise_again(*, by: User, at: datetime, until: Mapping[int, datetime] | None = None) -> int:
    """Bring every customer's books up to date; return the entries posted.

    Args:
        until: By customer, when they were brought up to date last; `at` for the others.
    """
    known = until or {}
    return sum(
        recognise_customer(customer_id=pk, by=by, at=known.get(pk, at))
        for pk in Customer.objects.order_by("pk").values_list("pk", flat=True)
    )


def end_month_again(*, period: AccountingPeriod, by: User, at: datetime) -> int:
    """Post what a close posts, once all that was known by it is in the books."""
    posted = recognise_again(by=by, at=at)
    posted += true_up(period=period, by=by, at=at)
    return posted + revalue(period=period, by=by, at=at)
