"""Which approved version of a rule governs at an instant."""

from datetime import datetime

from django.db.models import QuerySet

from billing_project.kernel.models import PolicyStatus
from credits.models import CreditPolicy, RateCard, RateCardVersion

BURN_ORDER = "burn_order"


def approved_versions(rate_card_ids: set[int]) -> QuerySet[RateCardVersion]:
    """List approved versions of rate cards, the one that governs last first."""
    return (
        RateCardVersion.objects.filter(
            rate_card_id__in=rate_card_ids, policy_change__status=PolicyStatus.APPROVED
        )
        .select_related("policy_change")
        .order_by("-policy_change__effective_at", "-number")
    )


def approved_policies(code: str = BURN_ORDER) -> QuerySet[CreditPolicy]:
    """List approved credit policies, the one that governs last first."""
    return (
        CreditPolicy.objects.filter(code=code, policy_change__status=PolicyStatus.APPROVED)
        .select_related("policy_change")
        .order_by("-policy_change__effective_at", "-number")
    )


def governing_rate_card_version(rate_card: RateCard, at: datetime) -> RateCardVersion | None:
    """Return the approved version with the latest effective date until `at`, or None."""
    versions = approved_versions({rate_card.pk})
    return versions.filter(policy_change__effective_at__lte=at).first()


def governing_credit_policy(at: datetime, code: str = BURN_ORDER) -> CreditPolicy | None:
    """Return the approved credit policy with the latest effective date until `at`, or None."""
    return approved_policies(code).filter(policy_change__effective_at__lte=at).first()
