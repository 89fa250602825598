"""Which approved version of a rule governs at an instant."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from django.db.models import QuerySet

from billing_project.kernel.models import PolicyChange, PolicyStatus, in_force
from credits.models import CreditPolicy, RateCard, RateCardVersion, RatePin

BURN_ORDER = "burn_order"


def is_in_force(change: PolicyChange, at: datetime) -> bool:
    """Tell whether an approved change has begun and not expired at an instant."""
    return change.effective_at <= at and (change.expires_at is None or at < change.expires_at)


def approved_versions(rate_card_ids: Collection[int]) -> QuerySet[RateCardVersion]:
    """List approved versions of rate cards, the one that governs last first."""
    return (
        RateCardVersion.objects.filter(
            rate_card_id__in=rate_card_ids, policy_change__status=PolicyStatus.APPROVED
        )
        .select_related("policy_change")
        .order_by("-policy_change__effective_at", "-number")
    )


def approved_pins(
    rate_card_ids: Collection[int], customer_ids: Collection[int]
) -> QuerySet[RatePin]:
    """List approved pins of customers to rate cards, the one that governs last first."""
    return (
        RatePin.objects.filter(
            rate_card_id__in=rate_card_ids,
            customer_id__in=customer_ids,
            policy_change__status=PolicyStatus.APPROVED,
        )
        .select_related("policy_change")
        .order_by("-policy_change__effective_at", "-pk")
    )


def pins_before(change_ids: Collection[int]) -> dict[int, list[list[RatePin]]]:
    """Return for each change, and each customer whom it moves, the pins that go before it.

    They are approved and of the same card, from moves and from versions at which the customer
    stays; where both hold, they govern.
    """
    pins = RatePin.objects.filter(policy_change_id__in=change_ids)
    places = {(pin.customer_id, pin.rate_card_id): pin for pin in pins}
    approved = approved_pins({card for _, card in places}, {customer for customer, _ in places})
    rivals: dict[tuple[int, int], list[RatePin]] = defaultdict(list)
    before: dict[int, list[list[RatePin]]] = defaultdict(list)
    wanted = set(change_ids)
    for pin in approved:
        others = rivals[pin.customer_id, pin.rate_card_id]
        if pin.policy_change_id in wanted:
            before[pin.policy_change_id].append(list(others))
        others.append(pin)
    return before


def approved_policies(code: str = BURN_ORDER) -> QuerySet[CreditPolicy]:
    """List approved credit policies, the one that governs last first."""
    return (
        CreditPolicy.objects.filter(code=code, policy_change__status=PolicyStatus.APPROVED)
        .select_related("policy_change")
        .order_by("-policy_change__effective_at", "-number")
    )


def governing_rate_card_version(rate_card: RateCard, at: datetime) -> RateCardVersion | None:
    """Return the approved version with the latest effective date until `at`, or None."""
    return approved_versions({rate_card.pk}).filter(in_force(at, "policy_change__")).first()


def governing_credit_policy(at: datetime, code: str = BURN_ORDER) -> CreditPolicy | None:
    """Return the approved credit policy with the latest effective date until `at`, or None."""
    return approved_policies(code).filter(in_force(at, "policy_change__")).first()
