"""Approved bases of grants: their content."""

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.quantity import plain
from revrec.models import GrantBasis

GRANT_BASIS = "grant_basis"
register_kind(
    Kind(
        GRANT_BASIS, "Basis of a grant", is_rule=False,
        consequence="The books promise the grant's credits at this price, and earn it as they are"
        " used. It cannot be taken back.",
    )
)  # fmt: skip


def content_of_basis(basis: GrantBasis) -> dict[str, object]:
    """Return the whole version as plain values."""
    shares = {
        name: None if value is None else plain(value)
        for name, value in (
            ("ssp", basis.ssp), ("likelihood", basis.likelihood),
            ("purchase_ssp", basis.purchase_ssp),
            ("purchase_likelihood", basis.purchase_likelihood),
        )
    }  # fmt: skip
    return {
        "grant": basis.grant_id,
        "cause": str(basis.cause),
        "price_minor": basis.price_minor,
        "currency": basis.currency,
        "purchase": basis.purchase_id,
        **shares,
        "evidence": basis.evidence,
    }


@content_of(GRANT_BASIS)
def _content(change: PolicyChange) -> dict[str, object]:
    return content_of_basis(GrantBasis.objects.get(policy_change=change))
