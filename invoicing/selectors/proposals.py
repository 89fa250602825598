"""Which credit notes should be proposed, and what a proposal consists of."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.db.models import Exists, Max, Min, OuterRef, Q, QuerySet

from billing_project.kernel.approvals import content_of
from billing_project.kernel.errors import Insufficient
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.quantity import plain
from credits.models import BillingPeriod, RatedUsage
from invoicing.claims import worth
from invoicing.models import InvoiceLine, LineKind, ProposedCreditNote
from invoicing.models.proposal import ProposalCause, ProposalState
from invoicing.selectors.invoices import CLAIMED
from invoicing.selectors.restoring import (
    RestoredTo,
    as_money,
    credits_to_restore,
    worth_of,
)
from invoicing.selectors.splitting import overage_by_workspace
from invoicing.selectors.usage import OverageState, unbilled_credits
from metering.models import Backfill
from metering.selectors.adjusting import adjusted_since


def periods_to_credit() -> QuerySet[BillingPeriod]:
    """List the periods that are claimed beyond their usage, and those with an open proposal.

    Only a correction makes an overcharge, so that periods without one are not summed.
    """
    waiting = open_proposals().filter(invoice_line__billing_period=OuterRef("pk"))
    corrected = RatedUsage.objects.filter(billing_period=OuterRef("pk"), overage__lt=0)
    claimed = issued_overage_lines().filter(billing_period=OuterRef("pk"))
    return (
        BillingPeriod.objects.filter(Exists(corrected), Exists(claimed))
        .alias(unbilled=unbilled_credits())
        .filter(Q(unbilled__lt=0) | Exists(waiting))
        .select_related("customer")
        .order_by("id")
    )


def issued_overage_lines() -> QuerySet[InvoiceLine]:
    """List the lines that claim overage on issued invoices."""
    lines = InvoiceLine.objects.filter(kind=LineKind.OVERAGE)
    return lines.filter(invoice__status__in=CLAIMED)


def proposed_notes(
    customer_external_id: str | None = None,
    invoice_number: str | None = None,
    state: str | None = None,
) -> QuerySet[ProposedCreditNote]:
    """List proposals, newest first."""
    found = ProposedCreditNote.objects.select_related(
        "policy_change", "invoice_line__invoice__customer", "credit_note"
    )
    if customer_external_id is not None:
        found = found.filter(invoice_line__invoice__customer__external_id=customer_external_id)
    if invoice_number is not None:
        found = found.filter(invoice_line__invoice__number=invoice_number)
    if state is not None:
        found = found.filter(state=state)
    return found.order_by("-id")


def open_proposals() -> QuerySet[ProposedCreditNote]:
    """List the proposals that are neither issued nor closed."""
    return ProposedCreditNote.objects.filter(state=ProposalState.OPEN).select_related(
        "policy_change", "invoice_line__invoice__customer"
    )


def credits_due(state: OverageState) -> dict[int, int]:
    """Spread a period's overcharge over its lines, the newest first.

    Where usage was invoiced by workspace, what a workspace was charged too much comes off its own
    lines first.

    Returns:
        Minor units > 0 by line; together the overcharge, as far as the lines have it left.
    """
    lines = issued_overage_lines().filter(billing_period=state.billing_period).order_by("-id")
    left = {line.pk: line.amount_minor - line.credited_minor for line in lines}
    due: dict[int, int] = {}
    rest = state.overcharged_minor
    for most, some in (*_by_workspace(state, lines), (rest, list(lines))):
        wanted = min(rest, most)
        for line in some:
            part = min(wanted, left[line.pk])
            if part > 0:
                due[line.pk] = due.get(line.pk, 0) + part
                left[line.pk] -= part
                wanted, rest = wanted - part, rest - part
    return due


def _by_workspace(
    state: OverageState, lines: QuerySet[InvoiceLine]
) -> list[tuple[int, list[InvoiceLine]]]:
    """Return the lines of each workspace's invoices, with what they claim beyond its usage."""
    own: dict[int, list[InvoiceLine]] = {}
    for line in lines.select_related("invoice"):
        if (workspace_id := line.invoice.workspace_id) is not None:
            own.setdefault(workspace_id, []).append(line)
    if not own:
        return []
    used = overage_by_workspace(RatedUsage.objects.filter(billing_period=state.billing_period))
    found = []
    for workspace_id, some in own.items():
        claimed = sum((line.quantity for line in some), Decimal(0))
        still = max(used.get(workspace_id, Decimal(0)), Decimal(0))
        credited = sum(line.credited_minor for line in some)
        over = worth(claimed, state.price) - worth(still, state.price) - credited
        found.append((max(over, 0), some))
    return found


def overcharge_facts(state: OverageState) -> dict[str, object]:
    """Say what is claimed, what was used, and which adjustments came after the first invoice."""
    period = state.billing_period
    adjusted = adjusted_since(
        period.customer_id, period.start_at, period.end_at, _first_invoiced_at(period)
    )
    return {
        "credits_claimed": plain(state.invoiced),
        "credits_used": plain(state.rated),
        "adjustments": list(adjusted.named),
        "adjustment_count": adjusted.count,
        "words": f"Usage was corrected after its invoice: {adjusted.text}.",
    }


def late_credits(line: InvoiceLine) -> Decimal:
    """Sum the overage on a late line that was reported late, in credits, >= 0.

    What was invoiced before, credited and is claimed again is no part of it, and neither is what a
    backfill changed: somebody has approved that. A rating that carries both is the backfill's.
    """
    rows = RatedUsage.objects.filter(
        pk__in=line.usage.filter(kind=LineKind.OVERAGE).values("rated_usage")
    )
    own = [row.overage for row in rows.order_by("id") if not _carries_backfill(row)]
    return max(sum(own, Decimal(0)), Decimal(0))


def _carries_backfill(row: RatedUsage) -> bool:
    """Tell whether a backfill took effect, or was reverted, between a rating and the one before."""
    backfills = Backfill.objects.filter(
        customer=row.customer_id, start_at__lte=row.service_at, end_at__gt=row.service_at
    )
    before = RatedUsage.objects.filter(window=row.window_id, pk__lt=row.pk)
    since = before.aggregate(last=Max("rated_at"))["last"]
    applied, reverted = Q(applied_at__lte=row.rated_at), Q(reverted_at__lte=row.rated_at)
    if since is not None:
        applied, reverted = applied & Q(applied_at__gte=since), reverted & Q(reverted_at__gte=since)
    return backfills.filter(applied | reverted).exists()


def late_facts(late: Decimal) -> dict[str, object]:
    """Say what came late on a line."""
    return {
        "credits_late": plain(late),
        "words": "Usage was reported after its period was invoiced; the rule for this customer's"
        " late events asks whether to bear it.",
    }


def content_of_proposed_note(row: ProposedCreditNote) -> dict[str, object]:
    """Return the whole content of a proposal; its policy change may not be there yet."""
    line, invoice = row.invoice_line, row.invoice_line.invoice
    credits_ = {"credits": plain(row.restored_credits)} if row.restored_credits else {}
    return {
        "customer": invoice.customer.external_id,
        "invoice": invoice.number,
        "line": line.position,
        "service_start_at": line.service_start_at,
        "service_end_at": line.service_end_at,
        "number": row.number,
        "cause": row.cause,
        "amount_minor": row.amount_minor,
        "currency": invoice.currency,
        **credits_,
        **row.facts,
    }


def shown_back(restored: Iterable[RestoredTo]) -> list[dict[str, object]]:
    """Write who would get credits back, at what they had cost, so that it can be compared."""
    return [
        {
            "grant": part.grant.pk,
            "category": part.grant.category,
            "credits": plain(part.credits),
            "unit": part.grant.pricing_unit.code,
            "goes_to": part.goes_to,
            "paid": [str(money) for money in as_money(worth_of([part]))],
        }
        for part in restored
    ]


def is_as_shown(proposal: ProposedCreditNote, at: datetime) -> bool:
    """Tell whether the grants that the decision was shown would get the credits back now."""
    wanted = [(proposal.invoice_line, proposal.restored_credits)]
    try:
        found = credits_to_restore(wanted, at)
    except Insufficient:
        return False
    shown: list[dict[str, object]] = proposal.facts["gives_back"]
    return shown_back(found) == shown


def is_overcharge(proposal: ProposedCreditNote) -> bool:
    """Tell whether a proposal takes back what was claimed too much."""
    return proposal.cause == ProposalCause.OVERCHARGE


def _first_invoiced_at(billing_period: BillingPeriod) -> datetime:
    lines = issued_overage_lines().filter(billing_period=billing_period)
    first: datetime | None = lines.aggregate(first=Min("invoice__finalized_at"))["first"]
    return first or billing_period.end_at


register_kind(
    Kind(
        "credit_note",
        "Credit note",
        is_rule=False,
        consequence="The worker then issues this credit note, once, if the books still say so.",
    )
)


@content_of("credit_note")
def _credit_note(change: PolicyChange) -> dict[str, object]:
    proposals = ProposedCreditNote.objects.select_related("invoice_line__invoice__customer")
    row = proposals.get(policy_change=change)
    return content_of_proposed_note(row)
