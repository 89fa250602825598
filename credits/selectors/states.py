"""Grants as the burn order sees them."""

from decimal import Decimal

from credits.costing import cost_of
from credits.drawdown import GrantState, Life
from credits.models import CreditGrant, GrantCategory
from credits.selectors.lapsed import ROLLED_OVER


def state_of_grant(grant: CreditGrant, remaining: Decimal) -> GrantState:
    """Return a grant as the burn order sees it, with what may be burned of it."""
    origin = grant.origin
    return GrantState(
        id=grant.pk,
        remaining=remaining,
        priority=grant.priority,
        is_paid=grant.category == GrantCategory.PAID,
        effective_at=grant.effective_at,
        expires_at=grant.expires_at,
        created_at=grant.created_at,
        workspace_id=grant.workspace_id,
        meter_codes=frozenset(grant.meter_codes),
        origin_life=Life(origin.effective_at, origin.expires_at) if origin else None,
        amount=grant.amount,
        unit_cost=cost_of(Decimal(1), grant.priced_amount, grant.price_minor, grant.currency),
        is_rolled_over=grant.reason_code == ROLLED_OVER and origin is not None,
    )
