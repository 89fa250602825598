"""How much a payment may fall short, by the version in force."""

from datetime import datetime

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange, in_force
from invoicing.models import PaymentTolerance

TOLERANCE = "payment_tolerance"
register_kind(Kind(TOLERANCE, "Payment tolerance", about=("currency",)))


def tolerance_at(currency: str, at: datetime) -> PaymentTolerance | None:
    """Return the approved version of a currency with the latest effective date until `at`."""
    versions = PaymentTolerance.objects.filter(
        in_force(at, "policy_change__"), currency=currency
    ).select_related("policy_change")
    return versions.order_by("-policy_change__effective_at", "-number").first()


def content_of_tolerance(version: PaymentTolerance) -> dict[str, object]:
    """Return the whole version as plain values."""
    return {
        "currency": version.currency,
        "number": version.number,
        "most_minor": version.most_minor,
    }


@content_of(TOLERANCE)
def _content(change: PolicyChange) -> dict[str, object]:
    return content_of_tolerance(PaymentTolerance.objects.get(policy_change=change))
