"""What is claimed for a period's seats, and what of it is beyond their worth."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from django.db.models import Q, QuerySet, Sum

from billing_project.kernel.money import prorate
from billing_project.kernel.period import Period
from credits.models import BillingPeriod
from invoicing.models import CreditNoteLine, InvoiceLine, InvoiceStatus, LineKind, Subscription
from invoicing.seats import worth
from invoicing.selectors.advance import changes_of, seat_pricing
from invoicing.selectors.changes import SEAT_NOTES, opening_of, unused_prefix
from invoicing.selectors.plans import plan_version_of


def seat_lines(billing_period: BillingPeriod) -> QuerySet[InvoiceLine]:
    """List the lines that claim a period's seats; a void invoice claims nothing."""
    lines = InvoiceLine.objects.filter(billing_period=billing_period, kind=LineKind.SEAT)
    return lines.exclude(invoice__status=InvoiceStatus.VOID)


def claimed_for_seats(billing_period: BillingPeriod) -> int:
    """Sum what lines claim for a period's seats by the list, less what fewer gave back."""
    lines = seat_lines(billing_period)
    ours = Q(credit_note__source_key__startswith=SEAT_NOTES) | Q(
        credit_note__source_key__startswith=unused_prefix(billing_period)
    )
    notes = CreditNoteLine.objects.filter(ours, invoice_line__in=lines)
    net, listed = net_and_listed(lines)
    back = notes.aggregate(sum=Sum("amount_minor"))["sum"] or 0
    return int(listed) - (prorate(back, listed, net) if back else 0)


def unused_seats(subscription: Subscription, billing_period: BillingPeriod, until: datetime) -> int:
    """Return what would be given back for a period's seats from an instant on, net of tax."""
    net, listed = net_and_listed(seat_lines(billing_period))
    left = beyond_worth(subscription, billing_period, until)
    return prorate(left, net, listed) if listed else 0


def beyond_worth(subscription: Subscription, billing_period: BillingPeriod, until: datetime) -> int:
    """Return what is claimed for a period's seats by the list beyond their worth until then.

    Returns:
        Negative where less is claimed; nothing where seats cost nothing in the period.
    """
    opening = opening_of(billing_period)
    served = replace(opening, period=Period(opening.period.start, until))
    pricing = seat_pricing(subscription, plan_version_of(billing_period), served)
    if pricing is None:
        return 0
    changes = changes_of(list(subscription.seats.filter(effective_at__lt=until)))
    return claimed_for_seats(billing_period) - worth(changes, pricing)


def net_and_listed(lines: QuerySet[InvoiceLine]) -> tuple[Decimal, Decimal]:
    """Sum what lines claim, and what they would by the list: without discounts, with its tax."""
    sums = lines.aggregate(
        net=Sum("amount_minor"),
        off=Sum("discount_minor"),
        tax=Sum("tax_minor", filter=Q(is_tax_inclusive=True)),
    )
    net = sums["net"] or 0
    return Decimal(net), Decimal(net + (sums["off"] or 0) + (sums["tax"] or 0))
