"""Why a burn took this grant and not another: read back from the ledger and the policy it names."""

from decimal import Decimal

from django.db.models import Sum

from credits.burn_order import preset_of, why
from credits.models import CreditGrant, LedgerKind, LedgerTransaction
from credits.selectors.facts import use_of
from credits.selectors.states import state_of_grant


def why_this_grant(entry: LedgerTransaction) -> str:
    """Explain a drawn entry: what the burn order compared, and which grant came after.

    Returns:
        "" for an entry that no burn order chose.
    """
    if entry.kind != LedgerKind.DRAWN or entry.rated_usage is None or entry.credit_policy is None:
        return ""
    rated = entry.rated_usage
    window, period = rated.window, rated.billing_period
    place = (window.workspace_id, window.meter.code)
    use = use_of(rated.service_at, period, place)
    left = _left_before(entry)
    grants = CreditGrant.objects.select_related("origin").in_bulk([*left, entry.grant_id])
    states = [state_of_grant(grants[pk], credits_) for pk, credits_ in left.items()]
    others = [state for state in states if state.id != entry.grant_id and state.admits(use)]
    chosen = state_of_grant(grants[entry.grant_id], -entry.credits)
    order = entry.credit_policy.burn_order
    name = preset_of(order) or "own"
    return f"{why(chosen, others, order)} ({entry.credit_policy}, {name} order)"


def _left_before(entry: LedgerTransaction) -> dict[int, Decimal]:
    """Fold what each grant of the same unit had left when the entry was written."""
    before = LedgerTransaction.objects.filter(
        customer_id=entry.customer_id,
        position__lt=entry.position,
        grant__pricing_unit=entry.grant.pricing_unit_id,
    )
    rows = before.order_by().values_list("grant_id").annotate(total=Sum("credits"))
    return {grant_id: total for grant_id, total in rows if total > 0}
