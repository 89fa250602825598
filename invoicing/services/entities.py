"""Propose what legal entities are called, and say which of them bills a customer."""

import re
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.content import Content, refuse_missing, text_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.money import is_currency
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from credits.models import CreditGrant
from invoicing.models import (
    CustomerAddress,
    CustomerEntity,
    Invoice,
    LegalEntity,
    LegalEntityVersion,
    NumberSeries,
    Subscription,
)
from invoicing.selectors.entities import content_of_entity, entity_id_of, seller_at
from invoicing.services.locks import CREDIT_NOTE_SERIES, INVOICE_SERIES, require_permission
from invoicing.services.markets import refuse_unknown_country
from metering.models import Customer
from metering.services.customers import lock_customer

_CODE = re.compile(r"[a-z][a-z0-9_-]{0,19}")
_PREFIX = re.compile(r"[A-Z][A-Z0-9]{0,7}")
_LONGEST_ADDRESS, _MOST_LINES = 500, 6


@dataclass(frozen=True)
class EntityTerms:
    """What an entity's documents say of it, and what its numbers begin with.

    Attributes:
        series_prefix: "DE" for "DE-INV-000001"; it stays as the first version said it.
        address: One to six lines.
        currency: Of its own books.
    """

    code: str
    series_prefix: str
    legal_name: str
    address: str
    country: str
    currency: str
    tax_number: str = ""


@transaction.atomic
def propose_legal_entity(
    *, terms: EntityTerms, proposal: Proposal, by: User, at: datetime
) -> LegalEntityVersion:
    """Write a version of an entity; the first of a new code makes the entity and its series.

    Raises:
        Invalid: a code, prefix, name, address, country or currency that is none.
        Conflict: the prefix is another entity's, or not the one of this entity; or its books are
            kept in another currency already.
    """
    _refuse_unreadable(terms)
    wait_for(f"legal_entity:{terms.code}")
    entity = LegalEntity.objects.filter(code=terms.code).first() or _made(terms, at)
    if entity.series_prefix != terms.series_prefix:
        raise Conflict(
            f"numbers of {entity} begin with {entity.series_prefix or 'nothing'}, and go on so",
            field="series_prefix",
        )
    _refuse_other_books(entity, terms.currency)
    version = LegalEntityVersion(
        entity=entity, number=next_number(LegalEntityVersion.objects.filter(entity=entity)),
        legal_name=terms.legal_name.strip(), address=_address(terms.address),
        tax_number=terms.tax_number.strip(), country=terms.country, currency=terms.currency,
    )  # fmt: skip
    return propose_version(
        version,
        kind="legal_entity",
        subject=f"legal_entity:{entity.code}:{version.number}",
        content=content_of_entity(version),
        proposal=proposal,
        by=by,
        at=at,
    )


@transaction.atomic
def assign_entity(
    *, customer: Customer, entity: LegalEntity, by: User, at: datetime
) -> CustomerEntity | None:
    """Say who bills a customer, for good, before anything is sold to them.

    Returns:
        The row; None where the main entity bills them, as it does unless told otherwise.

    Raises:
        NotAllowed: a person without the permission.
        Conflict: another entity was named before, something was sold already, or the entity has no
            approved version.
    """
    require_permission(by, "invoicing.assign_legalentity", "say who bills a customer")
    locked = lock_customer(customer.pk)
    before = CustomerEntity.objects.filter(customer=locked).first()
    if entity_id_of(locked) == entity.pk:
        return before
    if (
        before is not None
        or Subscription.objects.filter(customer=locked).exists()
        or Invoice.objects.filter(customer=locked).exists()
        or CreditGrant.objects.filter(customer=locked, price_minor__gt=0).exists()
    ):
        raise _billed_already(locked)
    seller_at(entity.pk, at)  # Refused until finance approved what it is called.
    try:
        with transaction.atomic():
            row = CustomerEntity.objects.create(
                customer=locked, entity=entity, recorded_by=by, recorded_at=at
            )
    except IntegrityError as error:  # Something of theirs is in another entity's books.
        raise _billed_already(locked) from error
    audit.record(by=by, at=at, action="assign_entity", subject=row, customer=locked.external_id)
    return row


def _billed_already(customer: Customer) -> Conflict:
    return Conflict(
        f"{customer} is billed by another entity already: what it sold stays in its books."
        " Make a new customer for what this one sells",
        code="entity_fixed",
    )


@transaction.atomic
def record_address(
    *, customer: Customer, address: str, by: User, at: datetime
) -> CustomerAddress | None:
    """Keep a customer's postal address from now on; an empty one ends it.

    What is issued already keeps the address that it was issued with. The same again adds nothing.

    Returns:
        The newest row; None where there is none and none was told.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: too long, or too many lines.
    """
    require_permission(by, "invoicing.record_customeraddress", "record addresses")
    lines = _address(address)
    if len(lines) > _LONGEST_ADDRESS or lines.count("\n") >= _MOST_LINES:
        raise Invalid(f"an address has up to {_MOST_LINES} lines", field="address")
    locked = lock_customer(customer.pk)
    newest = CustomerAddress.objects.filter(customer=locked).order_by("-id").first()
    if (newest.address if newest else "") == lines:
        return newest
    row = CustomerAddress.objects.create(
        customer=locked, address=lines, recorded_by=by, recorded_at=at
    )
    audit.record(by=by, at=at, action="record_address", subject=row, address=lines)
    return row


def _made(terms: EntityTerms, at: datetime) -> LegalEntity:
    if not _PREFIX.fullmatch(terms.series_prefix):
        raise Invalid(
            "a series prefix is one to eight of A-Z and 0-9 and begins with a letter",
            field="series_prefix",
        )
    wait_for(f"series_prefix:{terms.series_prefix}")
    if LegalEntity.objects.filter(series_prefix=terms.series_prefix).exists():
        raise Conflict(
            f"{terms.series_prefix} begins another entity's numbers", field="series_prefix"
        )
    entity = LegalEntity.objects.create(
        code=terms.code, series_prefix=terms.series_prefix, created_at=at
    )
    NumberSeries.objects.bulk_create(
        NumberSeries(entity=entity, code=code) for code in (INVOICE_SERIES, CREDIT_NOTE_SERIES)
    )
    return entity


def _refuse_other_books(entity: LegalEntity, currency: str) -> None:
    """Refuse another currency of the books: what they carry is carried in the first one."""
    first = (
        LegalEntityVersion.objects.filter(
            entity=entity, policy_change__status=PolicyStatus.APPROVED
        )
        .order_by("policy_change__effective_at", "number")
        .first()
    )
    if first is not None and first.currency != currency:
        raise Conflict(
            f"{entity} keeps its books in {first.currency}, for good", field="currency",
            code="functional_currency_fixed",
        )  # fmt: skip


def _refuse_unreadable(terms: EntityTerms) -> None:
    if not _CODE.fullmatch(terms.code):
        raise Invalid("a code is 1 to 20 of a-z, 0-9, _ and -", field="code")
    if not 0 < len(terms.legal_name.strip()) <= 200:
        raise Invalid("a legal name has up to 200 characters", field="legal_name")
    address = _address(terms.address)
    if not 0 < len(address) <= _LONGEST_ADDRESS or address.count("\n") >= _MOST_LINES:
        raise Invalid(f"an address has one to {_MOST_LINES} lines", field="address")
    if len(terms.tax_number.strip()) > 40:
        raise Invalid("a tax number has up to 40 characters", field="tax_number")
    refuse_unknown_country(terms.country, "country")
    if not is_currency(terms.currency):
        raise Invalid(f"{terms.currency} is no currency", field="currency")


def _address(text: str) -> str:
    """Leave out empty lines and what surrounds the others."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


@materialise(
    "legal_entity",
    {
        "code": "de", "series_prefix": "DE", "legal_name": "Beispiel KI GmbH",
        "address": "Hafenstraße 1\n20457 Hamburg", "country": "DE", "currency": "EUR",
        "tax_number": "DE811128135",
    },
)  # fmt: skip
def _from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(content, "code", "legal_name", "address", "country", "currency")
    terms = EntityTerms(
        code=text_in(content, "code"), series_prefix=text_in(content, "series_prefix", ""),
        legal_name=text_in(content, "legal_name"), address=text_in(content, "address"),
        country=text_in(content, "country"), currency=text_in(content, "currency"),
        tax_number=text_in(content, "tax_number", ""),
    )  # fmt: skip
    propose_legal_entity(terms=terms, proposal=proposal, by=by, at=at)
