"""Which exemptions the notes to the statements use, by the version in force."""

from datetime import timedelta

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange, in_force
from revrec.disclosures import Exemptions, Framework
from revrec.models import AccountingPeriod, DisclosurePolicy
from revrec.selectors.zone import end_of

DISCLOSURE = "disclosure_policy"
register_kind(Kind(DISCLOSURE, "Disclosure policy"))


def exemptions_of(period: AccountingPeriod) -> Exemptions:
    """Return what the policy in force at a month's end leaves out; without one nothing.

    Of a closed month only by what was approved before its close.
    """
    last = end_of(period) - timedelta(microseconds=1)
    found = DisclosurePolicy.objects.filter(in_force(last, "policy_change__"))
    if period.closed_at is not None:
        found = found.filter(policy_change__decided_at__lte=period.closed_at)
    policy = found.order_by("-policy_change__effective_at", "-number").first()
    if policy is None:
        return Exemptions()
    return Exemptions(
        Framework(policy.framework), policy.exempts_short, policy.exempts_as_invoiced,
        policy.exempts_usage,
    )  # fmt: skip


def content_of_disclosure(policy: DisclosurePolicy) -> dict[str, object]:
    """Return the whole version as plain values."""
    return {
        "number": policy.number,
        "framework": str(policy.framework),
        "exempts_short": policy.exempts_short,
        "exempts_as_invoiced": policy.exempts_as_invoiced,
        "exempts_usage": policy.exempts_usage,
    }


@content_of(DISCLOSURE)
def _content(change: PolicyChange) -> dict[str, object]:
    return content_of_disclosure(DisclosurePolicy.objects.get(policy_change=change))
