"""How fees are recognised, losses treated and balances shown, by the version in force.

Without one, or as far as one says nothing, it is the first of each: by day, gross, by the dispute's
reason, as an expense.
"""

from datetime import datetime

from django.db.models import OuterRef, QuerySet

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange, in_force
from revrec.models import (
    AccountingPeriod,
    BadDebt,
    DisputeLoss,
    Granularity,
    Presentation,
    RecognitionPolicy,
)
from revrec.selectors.zone import end_of

RECOGNITION = "recognition_policy"
register_kind(Kind(RECOGNITION, "Recognition policy"))


def granularity_at(at: datetime) -> Granularity:
    """Return how fees of an invoice earn that was issued at an instant: what is keeps its plan."""
    policy = _known_at(at)
    return Granularity(policy.granularity) if policy else Granularity.DAY


def dispute_loss_at(at: datetime) -> DisputeLoss:
    """Return what the delivered part of a dispute is that was lost at an instant."""
    policy = _known_at(at)
    return DisputeLoss(policy.dispute_loss) if policy else DisputeLoss.BY_REASON


def bad_debt_at(at: datetime) -> BadDebt:
    """Return what the delivered part of a claim is that was written off at an instant."""
    policy = _known_at(at)
    return BadDebt(policy.bad_debt) if policy else BadDebt.EXPENSE


def presentation_of(period: AccountingPeriod) -> Presentation:
    """Return what the statements of a month show; of a closed one by what was approved before."""
    found = _in_force(end_of(period))
    if period.closed_at is not None:
        found = found.filter(policy_change__decided_at__lte=period.closed_at)
    policy = found.first()
    return Presentation(policy.presentation) if policy else Presentation.FINALISE


def known_at(at: datetime | OuterRef) -> QuerySet[RecognitionPolicy]:
    """List versions that were approved by an instant and in force then; the first one governs.

    So what is approved later changes nothing that was.
    """
    return _in_force(at).filter(policy_change__decided_at__lte=at)


def _known_at(at: datetime) -> RecognitionPolicy | None:
    return known_at(at).first()


def _in_force(at: datetime | OuterRef) -> QuerySet[RecognitionPolicy]:
    found = RecognitionPolicy.objects.filter(in_force(at, "policy_change__"))  # type: ignore[arg-type]
    return found.order_by("-policy_change__effective_at", "-number")


def content_of_recognition(policy: RecognitionPolicy) -> dict[str, object]:
    """Return the whole version as plain values."""
    content: dict[str, object] = {
        "number": policy.number,
        "granularity": str(policy.granularity),
        "presentation": str(policy.presentation),
    }
    if policy.dispute_loss != DisputeLoss.BY_REASON:  # Versions of before say nothing of it,
        content["dispute_loss"] = str(policy.dispute_loss)
    if policy.bad_debt != BadDebt.EXPENSE:  # or of this.
        content["bad_debt"] = str(policy.bad_debt)
    return content


@content_of(RECOGNITION)
def _content(change: PolicyChange) -> dict[str, object]:
    return content_of_recognition(RecognitionPolicy.objects.get(policy_change=change))
