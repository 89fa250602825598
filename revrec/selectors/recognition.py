"""How fees are recognised and shown, by the version in force; without one by day, and gross."""

from datetime import datetime

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange, in_force
from billing_project.kernel.period import midnight
from revrec.models import AccountingPeriod, Granularity, Presentation, RecognitionPolicy

RECOGNITION = "recognition_policy"
register_kind(Kind(RECOGNITION, "Recognition policy"))


def granularity_at(at: datetime) -> Granularity:
    """Return how fees of an invoice earn that was issued at an instant.

    By what was approved by then: what is issued keeps its plan.
    """
    policy = _governing(at, decided_by=at)
    return Granularity(policy.granularity) if policy else Granularity.DAY


def presentation_of(period: AccountingPeriod) -> Presentation:
    """Return what the statements of a month show; of a closed one by what was approved before."""
    policy = _governing(midnight(period.end_on), decided_by=period.closed_at)
    return Presentation(policy.presentation) if policy else Presentation.FINALISE


def _governing(at: datetime, decided_by: datetime | None) -> RecognitionPolicy | None:
    found = RecognitionPolicy.objects.filter(in_force(at, "policy_change__"))
    if decided_by is not None:
        found = found.filter(policy_change__decided_at__lte=decided_by)
    return found.order_by("-policy_change__effective_at", "-number").first()


def content_of_recognition(policy: RecognitionPolicy) -> dict[str, object]:
    """Return the whole version as plain values."""
    return {
        "number": policy.number,
        "granularity": str(policy.granularity),
        "presentation": str(policy.presentation),
    }


@content_of(RECOGNITION)
def _content(change: PolicyChange) -> dict[str, object]:
    return content_of_recognition(RecognitionPolicy.objects.get(policy_change=change))
