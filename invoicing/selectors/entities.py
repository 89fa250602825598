"""Who sells to a customer, and what the seller is called at an instant."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from billing_project.kernel.approvals import content_of
from billing_project.kernel.errors import Conflict, NotFound
from billing_project.kernel.models import PolicyChange, in_force
from billing_project.kernel.remembering import remembered
from invoicing.models import (
    MAIN_ENTITY,
    CustomerAddress,
    CustomerEntity,
    LegalEntity,
    LegalEntityVersion,
)
from metering.models import Customer


@dataclass(frozen=True)
class Seller:
    """What documents say of the entity that issues them."""

    name: str
    address: str  # In lines.
    tax_number: str
    country: str


def entity_named(code: str) -> LegalEntity:
    """Return a legal entity by its code.

    Raises:
        NotFound: there is none (`unknown_entity`).
    """
    found = LegalEntity.objects.filter(code=code).first()
    if found is None:
        raise NotFound(f"no legal entity is called {code}", code="unknown_entity")
    return found


def main_entity() -> LegalEntity:
    """Return the entity that bills whoever is assigned to no other."""
    return LegalEntity.objects.get(pk=MAIN_ENTITY)


def entity_id_of(customer: Customer) -> int:
    """Return the id of the entity that bills a customer."""
    told = CustomerEntity.objects.filter(customer=customer).values_list("entity_id", flat=True)
    return told.first() or MAIN_ENTITY


def address_of(customer: Customer) -> str:
    """Return the postal address that a customer has now, in lines; "" where none was told."""
    told = CustomerAddress.objects.filter(customer=customer).order_by("-id")
    return told.values_list("address", flat=True).first() or ""


def governing_entity_version(entity_id: int, at: datetime) -> LegalEntityVersion | None:
    """Return the approved version of an entity with the latest effective date until `at`."""
    versions = LegalEntityVersion.objects.filter(
        in_force(at, "policy_change__"), entity_id=entity_id
    )
    governing = versions.order_by("-policy_change__effective_at", "-number")
    return remembered(("governing_entity_version", entity_id, at), governing.first)


def seller_at(entity_id: int, at: datetime) -> Seller:
    """Return what an entity is called at an instant; the main one may be called by the settings.

    Raises:
        Conflict: none of its versions is in force (`entity_not_approved`).
    """
    version = governing_entity_version(entity_id, at)
    if version is not None:
        return Seller(version.legal_name, version.address, version.tax_number, version.country)
    if entity_id == MAIN_ENTITY:
        told = settings.SELLER
        return Seller(told["name"], "\n".join(told["details"]), "", told["country"])
    entity = LegalEntity.objects.get(pk=entity_id)
    raise Conflict(
        f"the legal entity {entity} has no approved version at {at.isoformat()}: finance approves"
        " its name, address and tax number first",
        code="entity_not_approved",
    )


def content_of_entity(version: LegalEntityVersion) -> dict[str, object]:
    """Return the whole version as plain values: what the approver signs."""
    return {
        "code": version.entity.code,
        "series_prefix": version.entity.series_prefix,
        "number": version.number,
        "legal_name": version.legal_name,
        "address": version.address,
        "tax_number": version.tax_number,
        "country": version.country,
        "currency": version.currency,
    }


@content_of("legal_entity")
def _entity_of(change: PolicyChange) -> dict[str, object]:
    found = LegalEntityVersion.objects.select_related("entity").get(policy_change=change)
    return content_of_entity(found)
