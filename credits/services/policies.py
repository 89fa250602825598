"""Propose versions of the burn order: which grant is used first."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from credits.drawdown import BURN_KEYS, STRIPE_ORDER
from credits.models import CreditPolicy
from credits.selectors.contents import content_of_policy
from credits.selectors.governing import BURN_ORDER


@transaction.atomic
def propose_credit_policy(
    *,
    code: str = BURN_ORDER,
    burn_order: Sequence[str] = STRIPE_ORDER,
    proposal: Proposal,
    by: User,
    at: datetime,
) -> CreditPolicy:
    """Write a version of a credit policy; it governs once somebody else approved it.

    Raises:
        Invalid: the order names a key twice, or one that does not exist.

    `burn_order.PRESETS` has the orders that other products publish.
    """
    unknown = sorted(set(burn_order) - BURN_KEYS)
    if unknown or not burn_order or len(set(burn_order)) < len(burn_order):
        raise Invalid(
            f"a burn order names each of {', '.join(sorted(BURN_KEYS))} at most once",
            field="burn_order",
        )
    policy = CreditPolicy(code=code, number=_next_number(code), burn_order=list(burn_order))
    return propose_version(
        policy,
        kind="credit_policy",
        subject=f"credit_policy:{code}:{policy.number}",
        content=content_of_policy(policy),
        proposal=proposal,
        by=by,
        at=at,
    )


def _next_number(code: str) -> int:
    """Take the next number; of two who propose at once, the second waits for the first."""
    wait_for(f"credit_policy:{code}")
    return next_number(CreditPolicy.objects.filter(code=code))
