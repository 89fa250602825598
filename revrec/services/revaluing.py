"""Value money in foreign currencies anew at a close (rule 29); what was sold keeps its rate."""

from datetime import datetime

from billing_project.kernel.models import User
from invoicing.models import MAIN_ENTITY
from revrec.fx import revaluation, revalued, worth_alone
from revrec.models import AccountingPeriod
from revrec.posting import About, EntryKind, joined
from revrec.selectors.revaluing import closing_day, monetary_balances, rate_for
from revrec.services.journal import EntryDraft, post_entries


def revalue(*, period: AccountingPeriod, by: User, at: datetime) -> int:
    """Bring what money is worth to the closing rate, customer by customer, against 7000.

    Call it under the close's lock, once everything else is in the books. A pair of currencies
    without a rate is left out: the checklist keeps the month open.

    Returns:
        The number of entries posted.
    """
    on, drafts = closing_day(period), []
    for pair, balances in monetary_balances(period).items():
        rate = rate_for(pair, balances, on, at)
        if rate is None:
            continue
        about = About(pair.functional)
        changes = [
            revalued(account, change, about)
            for account, carried in balances.items()
            if (change := revaluation(carried, rate))
        ]
        if not changes:
            continue
        whose = pair.customer_id or f"entity:{pair.entity_id}"
        drafts.append(
            EntryDraft(
                wanted_on=on,
                kind=EntryKind.CURRENCY_REVALUED,
                description=f"{pair.currency} valued in {pair.functional} on {on}",
                customer_id=pair.customer_id,
                lines=worth_alone(joined(changes), pair.currency),
                source_key=f"revaluation:{whose}:{pair.currency}:through:{period}",
                entity_id=pair.entity_id or MAIN_ENTITY,  # A customer's say whose by themselves.
            )
        )
    return len(post_entries(drafts=drafts, by=by, at=at))
