"""The whole content of a version in one form, built from its rows.

Proposals store what comes out of here, approvals and the books compare it again.
"""

from collections.abc import Iterable

from billing_project.kernel.approvals import content_of
from billing_project.kernel.canonical import canonical_json
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import ApprovalFunction, PolicyChange
from billing_project.kernel.quantity import plain
from credits.models import (
    CreditPolicy,
    GrantTerms,
    Pools,
    PricingModel,
    Rate,
    RateCard,
    RateCardVersion,
    RatePin,
)


def content_of_rates(
    card: RateCard, number: int, rates: Iterable[Rate], stays: Iterable[RatePin] = ()
) -> dict[str, object]:
    """Return a rate card version: rates sorted, prices as plain text.

    Args:
        stays: Customers who keep another version; named only where there are any, as are the
            customer and the base of an override.
    """
    content: dict[str, object] = {
        "rate_card": card.code,
        "pricing_unit": card.pricing_unit.code,
        "number": number,
        "rates": sorted((content_of_rate(rate) for rate in rates), key=canonical_json),
    }
    if card.customer is not None and card.base is not None:
        content |= {"customer": card.customer.external_id, "base": card.base.code}
    if kept := [_stay(pin) for pin in stays]:
        content["stays"] = sorted(kept, key=canonical_json)
    return content


def content_of_rate(rate: Rate) -> dict[str, object]:
    """Return one rate; what it does not say is left out, and decimals are plain text."""
    row: dict[str, object] = {"meter_code": rate.meter_code, "dimensions": rate.dimensions}
    if rate.model == PricingModel.PER_UNIT:
        row["unit_price"] = plain(rate.unit_price)
    else:
        row["model"] = str(rate.model)
    if rate.terms:
        row["terms"] = rate.terms
    for name in ("included", "minimum", "maximum"):
        if (value := getattr(rate, name)) is not None:
            row[name] = plain(value)
    if rate.pools != Pools.WORKSPACE:
        row["pools"] = str(rate.pools)
    return row


def content_of_pins(
    card: RateCard, version: RateCardVersion | None, customers: Iterable[str]
) -> dict[str, object]:
    """Return a migration: which customers move to a version, or back to following the card."""
    return {
        "rate_card": card.code,
        "version": version.number if version else None,
        "customers": sorted(customers),
    }


def content_of_policy(policy: CreditPolicy) -> dict[str, object]:
    """Return a burn order, most important key first."""
    return {"code": policy.code, "number": policy.number, "burn_order": policy.burn_order}


def content_of_terms(terms: GrantTerms) -> dict[str, object]:
    """Return a version of grant terms, numbers as plain text."""
    return {
        "code": terms.code,
        "number": terms.number,
        "category": terms.category,
        "priority": terms.priority,
        "life_days": terms.life_days,
        "is_pooled": terms.is_pooled,
        "meter_codes": terms.meter_codes,
        "rollover": terms.rollover,
        "rollover_value": None if terms.rollover_value is None else plain(terms.rollover_value),
        "return_days": terms.return_days,
        "refund_rule": terms.refund_rule,
    }


@content_of("rate_card")
@content_of("rate_override")
def _rate_card(change: PolicyChange) -> dict[str, object]:
    versions = RateCardVersion.objects.select_related(
        "rate_card__pricing_unit", "rate_card__customer", "rate_card__base"
    )
    version = versions.get(policy_change=change)
    pins = list(_pins(change))
    if any(pin.rate_card_id != version.rate_card_id for pin in pins):
        raise RatePin.DoesNotExist  # Nobody stays at a version of another card.
    return content_of_rates(version.rate_card, version.number, version.rates.all(), pins)


@content_of("rate_migration")
def _rate_migration(change: PolicyChange) -> dict[str, object]:
    pins = list(_pins(change))
    if len({(pin.rate_card_id, pin.version_id) for pin in pins}) != 1:
        raise RatePin.DoesNotExist  # All of them move to the same version, or to the card.
    customers = [pin.customer.external_id for pin in pins]
    return content_of_pins(pins[0].rate_card, pins[0].version, customers)


def _pins(change: PolicyChange) -> Iterable[RatePin]:
    pins = RatePin.objects.filter(policy_change=change)
    return pins.select_related("customer", "rate_card", "version")


def _stay(pin: RatePin) -> dict[str, object]:
    assert pin.version is not None, "who stays, stays at a version"
    return {"customer": pin.customer.external_id, "version": pin.version.number}


@content_of("credit_policy")
def _credit_policy(change: PolicyChange) -> dict[str, object]:
    return content_of_policy(CreditPolicy.objects.get(policy_change=change))


@content_of("grant_terms")
def _grant_terms(change: PolicyChange) -> dict[str, object]:
    return content_of_terms(GrantTerms.objects.get(policy_change=change))


register_kind(Kind("rate_migration", "Rate migration", parts="customers"))
register_kind(
    Kind(
        "stored_value",
        "Stored value",
        needs=(ApprovalFunction.FINANCE, ApprovalFunction.LEGAL),
        consequence="Credits might then leave the customer or become money. Nothing does so today:"
        " this is the decision that must come first.",
    )
)
