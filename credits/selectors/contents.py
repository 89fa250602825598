"""The whole content of a version in one form, built from its rows.

Proposals store what comes out of here, approvals and the books compare it again.
"""

from collections.abc import Iterable

from billing_project.kernel.approvals import content_of
from billing_project.kernel.canonical import canonical_json
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.quantity import plain
from credits.models import CreditPolicy, Rate, RateCard, RateCardVersion


def content_of_rates(card: RateCard, number: int, rates: Iterable[Rate]) -> dict[str, object]:
    """Return a rate card version: rates sorted, prices as plain text."""
    rows: list[dict[str, object]] = [
        {
            "meter_code": rate.meter_code,
            "dimensions": rate.dimensions,
            "unit_price": plain(rate.unit_price),
        }
        for rate in rates
    ]
    return {
        "rate_card": card.code,
        "pricing_unit": card.pricing_unit.code,
        "number": number,
        "rates": sorted(rows, key=canonical_json),
    }


def content_of_policy(policy: CreditPolicy) -> dict[str, object]:
    """Return a burn order, most important key first."""
    return {"code": policy.code, "number": policy.number, "burn_order": policy.burn_order}


@content_of("rate_card")
def _rate_card(change: PolicyChange) -> dict[str, object]:
    versions = RateCardVersion.objects.select_related("rate_card__pricing_unit")
    version = versions.get(policy_change=change)
    return content_of_rates(version.rate_card, version.number, version.rates.all())


@content_of("credit_policy")
def _credit_policy(change: PolicyChange) -> dict[str, object]:
    return content_of_policy(CreditPolicy.objects.get(policy_change=change))
