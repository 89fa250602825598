"""What the allowance for losses must hold at a close, by the approved estimate in force."""

from collections import defaultdict
from decimal import Decimal

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange
from invoicing.models import MAIN_ENTITY
from revrec.impairment import expected_loss
from revrec.models import AccountingPeriod, LossEstimate
from revrec.selectors.journal import entities_of_customers
from revrec.selectors.tables.customers import BUCKETS, receivable_ageing

LOSS = "loss_estimate"
register_kind(Kind(LOSS, "Expected credit losses", about=("currency",)))


def content_of_loss(estimate: LossEstimate) -> dict[str, object]:
    """Return a version of an estimate of losses."""
    return {
        "currency": estimate.currency,
        "number": estimate.number,
        "rates": estimate.rates,
        "evidence": estimate.evidence,
    }


@content_of(LOSS)
def _content(change: PolicyChange) -> dict[str, object]:
    return content_of_loss(LossEstimate.objects.get(policy_change=change))


def expected_losses(
    period: AccountingPeriod, estimates: list[LossEstimate]
) -> dict[tuple[str, int], int]:
    """Work out what is expected to be lost of invoices that are open at a month's end.

    Args:
        estimates: One that governs for each currency.

    Returns:
        Minor units by currency and the entity that claims.
    """
    open_: dict[tuple[str, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    rows = receivable_ageing(period).rows if estimates else []
    entities = entities_of_customers(row.customer_id for row in rows if row.customer_id)
    for row in rows:
        entity_id = entities.get(row.customer_id or 0, MAIN_ENTITY)
        for bucket in BUCKETS:
            open_[row.currency, entity_id][bucket] += row.figures[bucket].amount_minor
    rates = {
        estimate.currency: {bucket: Decimal(rate) for bucket, rate in estimate.rates.items()}
        for estimate in estimates
    }
    return {
        (currency, entity_id): expected_loss(of_buckets, rates[currency])
        for (currency, entity_id), of_buckets in open_.items()
        if currency in rates
    }
