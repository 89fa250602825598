"""Draft again what was issued, from what was known then; for whoever works everything out anew."""

from datetime import datetime
from decimal import Decimal

from credits.models import CreditGrant
from invoicing.lines import Line
from invoicing.models import Invoice
from invoicing.phases import Standing
from invoicing.selectors import plan_version_at, subscription_of
from invoicing.selectors.advance import advance_lines
from invoicing.selectors.changes import begins_paying, included_key, opening_of
from invoicing.services.drafts import write_lines
from invoicing.services.overage import billing_period_of, is_overage, rebuild
from invoicing.services.splitting import cut_by_workspace


def redraft(*, invoice: Invoice, at: datetime) -> list[Invoice]:
    """Fill an emptied draft as its period's start or end claims, and cut it as it is issued.

    Call it where what was not known by then is out of the way.

    Args:
        invoice: A draft without lines, of a period's end ("billing_period:4:overage") or start
            ("billing_period:4:fee").
        at: When it is issued.

    Returns:
        The draft, and those cut off it for workspaces.

    Raises:
        Invalid: the amount is larger than an invoice may claim.
    """
    period = billing_period_of(invoice)
    if is_overage(invoice):
        rebuild(invoice, period)
        return cut_by_workspace(invoice, period, at)
    if lines := _claimed_ahead(invoice):
        write_lines(invoice, lines, period)
    return [invoice]


def _claimed_ahead(invoice: Invoice) -> list[Line]:
    """Return what a period claims when it begins; with it came the credits that it was given."""
    period = billing_period_of(invoice)
    subscription, opening = subscription_of(period), opening_of(period)
    if opening.phase.standing != Standing.ACTIVE:
        return []
    included = CreditGrant.objects.filter(source_key=included_key(period)).first()
    return advance_lines(
        subscription,
        plan_version_at(subscription, opening.period.start),
        opening,
        included_credits=included.amount if included else Decimal(0),
        is_first=begins_paying(subscription, opening.period.start),
    )
