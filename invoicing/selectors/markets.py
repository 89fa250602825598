"""Which markets are open at an instant, and how a sale there is taxed."""

from datetime import datetime

from django.db.models import QuerySet

from billing_project.kernel.approvals import content_of
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import PolicyChange, in_force
from billing_project.kernel.quantity import plain
from billing_project.kernel.remembering import remembered
from invoicing.models import MAIN_ENTITY, CustomerTaxId, LegalEntity, MarketGate, TaxRate
from invoicing.models.market import TaxRegistration
from invoicing.selectors.entities import seller_at
from invoicing.tax import NO_TAX, Tax, Terms, tax_for
from invoicing.tax_ids import country_of
from metering.models import Customer


def is_open(country: str, currency: str, at: datetime, entity_id: int) -> bool:
    """Tell whether an entity's checklist for a market is approved and in force."""
    return _gates(country, currency, at, entity_id).exists()


def open_gate(customer: Customer, currency: str, at: datetime, entity_id: int) -> MarketGate:
    """Return the approved checklist under which an entity sells to a customer.

    Raises:
        Conflict: the market is not open to the entity; the message says what is missing.
    """
    asked = ("open_gate", customer.country, currency, at, entity_id)
    gates = _gates(customer.country, currency, at, entity_id)
    newest_first = gates.order_by("-policy_change__effective_at", "-number")
    gate = remembered(asked, newest_first.first)
    if gate is None:
        where = customer.country or "customers without a country"
        of = "" if entity_id == MAIN_ENTITY else f" to {LegalEntity.objects.get(pk=entity_id)}"
        raise Conflict(
            f"the market of {where} in {currency} is not open{of} at {at.isoformat()}: finance"
            " approves its checklist first (tax registration, settlement, payouts)",
            code="market_closed",
        )
    return gate


def _gates(country: str, currency: str, at: datetime, entity_id: int) -> QuerySet[MarketGate]:
    gates = MarketGate.objects.of_entity(entity_id)
    return gates.filter(in_force(at, "policy_change__"), country=country, currency=currency)


def tax_of_sale(customer: Customer, currency: str, at: datetime, entity_id: int) -> Tax:
    """Decide how a sale of an entity to a customer is taxed.

    Raises:
        Conflict: the market is not open, or we are registered there and no rate is approved, or the
            entity has no approved version.
    """
    gate = open_gate(customer, currency, at, entity_id)
    if gate.tax_registration == TaxRegistration.NOT_REQUIRED:
        return NO_TAX
    rate = governing_rate(customer.country, at)
    if rate is None:
        raise Conflict(
            f"we are registered for tax in {customer.country}, but no rate is approved there",
            code="tax_rate_missing",
        )
    terms = Terms(rate.name, rate.rate, rate.is_inclusive, rate.has_reverse_charge)
    tax_id = tax_id_of(customer)
    is_own = tax_id is not None and country_of(tax_id.kind, tax_id.value) == customer.country
    seller = seller_at(entity_id, at).country
    return tax_for(terms, seller, customer.country, has_tax_id=is_own)


def known_tax(customer: Customer, currency: str, at: datetime, entity_id: int) -> Tax:
    """Return the tax of a sale that is still to come; none where its market is not open yet."""
    try:
        return tax_of_sale(customer, currency, at, entity_id)
    except Conflict:
        return NO_TAX


def can_be_taxed(customer: Customer, currency: str, at: datetime, entity_id: int) -> bool:
    """Tell whether an entity can issue an invoice to a customer: `tax_of_sale` raises nothing."""
    try:
        tax_of_sale(customer, currency, at, entity_id)
        seller_at(entity_id, at)
    except Conflict:
        return False
    return True


def governing_rate(country: str, at: datetime) -> TaxRate | None:
    """Return the approved rate of a country with the latest effective date until `at`."""
    rates = TaxRate.objects.filter(in_force(at, "policy_change__"), country=country)
    governing = rates.order_by("-policy_change__effective_at", "-number")
    return remembered(("governing_rate", country, at), governing.first)


def tax_id_of(customer: Customer) -> CustomerTaxId | None:
    """Return the tax id that a customer has now, or None."""
    row = CustomerTaxId.objects.filter(customer=customer).order_by("-id").first()
    return row if row is not None and row.value else None


def content_of_gate(gate: MarketGate) -> dict[str, object]:
    """Return the whole checklist as plain values: what the approver signs."""
    return {
        **({"entity": str(gate.entity)} if gate.entity else {}),  # Once it was not said.
        "country": gate.country,
        "currency": gate.currency,
        "number": gate.number,
        "tax_registration": gate.tax_registration,
        "tax_number": gate.tax_number,
        "registered_on": gate.registered_on.isoformat() if gate.registered_on else None,
        "threshold_minor": gate.threshold_minor,
        "settlement_currency": gate.settlement_currency,
        "bank_country": gate.bank_country,
        "payout_days": gate.payout_days,
    }


def content_of_rate(rate: TaxRate) -> dict[str, object]:
    """Return the whole version as plain values."""
    return {
        "country": rate.country,
        "number": rate.number,
        "name": rate.name,
        "rate": plain(rate.rate),
        "is_inclusive": rate.is_inclusive,
        "has_reverse_charge": rate.has_reverse_charge,
    }


@content_of("market_gate")
def _gate_of(change: PolicyChange) -> dict[str, object]:
    return content_of_gate(MarketGate.objects.get(policy_change=change))


@content_of("tax_rate")
def _rate_of(change: PolicyChange) -> dict[str, object]:
    return content_of_rate(TaxRate.objects.get(policy_change=change))
