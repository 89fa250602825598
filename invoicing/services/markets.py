"""Open markets and set tax rates by approved versions; keep customers' tax ids."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from babel import Locale
from django.db import transaction
from django.db.models import Model

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.content import (
    Content,
    decimal_or_none_in,
    minor_in,
    refuse_missing,
    text_in,
    whole_in,
    yes_or_no_in,
)
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import is_currency
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from invoicing.models import MAIN_CODE, MAIN_ENTITY, CustomerTaxId, MarketGate, TaxRate
from invoicing.models.market import TaxIdKind, TaxRegistration
from invoicing.selectors.entities import entity_named
from invoicing.selectors.markets import content_of_gate, content_of_rate
from invoicing.services.locks import require_permission
from invoicing.tax_ids import BadTaxId, country_of, normalized
from metering.models import Customer
from metering.services.customers import lock_customer

_TERRITORIES = frozenset(str(code) for code in Locale("en").territories)
_LONGEST_PAYOUT = 366
_RATE_DECIMALS = Decimal("0.000001")


@dataclass(frozen=True)
class Checklist:
    """What has to be settled before anything is sold into a market."""

    country: str  # ISO 3166, or "" for customers without one.
    currency: str
    tax_registration: str  # One of TaxRegistration.
    settlement_currency: str
    bank_country: str
    payout_days: int
    threshold_minor: int = 0
    tax_number: str = ""
    registered_on: date | None = None
    entity: str = MAIN_CODE  # The code of the legal entity that sells there.


@transaction.atomic
def propose_market_gate(
    *, checklist: Checklist, proposal: Proposal, by: User, at: datetime
) -> MarketGate:
    """Write a version of a market's checklist; it opens the market once finance approved it.

    Raises:
        Invalid: a country, currency or term that does not exist, or a part that is missing.
        NotFound: no legal entity of that code.
    """
    _refuse_incomplete(checklist)
    entity = entity_named(checklist.entity)
    gate = MarketGate(**{**vars(checklist), "entity": entity})
    of = "" if entity.pk == MAIN_ENTITY else f"{entity.code}."
    where = f"{of}{gate.country or 'none'}.{gate.currency}"
    wait_for(f"market_gate:{where}")
    known = MarketGate.objects.of_entity(entity.pk)
    gate.number = next_number(known.filter(country=gate.country, currency=gate.currency))
    return propose_version(
        gate,
        kind="market_gate",
        subject=f"market_gate:{where}:{gate.number}",
        content=content_of_gate(gate),
        proposal=proposal,
        by=by,
        at=at,
    )


@transaction.atomic
def propose_tax_rate(
    *,
    country: str,
    name: str,
    rate: Decimal,
    is_inclusive: bool,
    has_reverse_charge: bool,
    proposal: Proposal,
    by: User,
    at: datetime,
) -> TaxRate:
    """Write a version of a country's tax rate; it is charged once finance approved it.

    Args:
        rate: 0 <= rate < 1, at most 6 decimals: 0.19 is 19 %.

    Raises:
        Invalid: no such country, or a rate or name out of bounds.
    """
    refuse_unknown_country(country, "country")
    if not 0 < len(name.strip()) <= 20:
        raise Invalid("a tax has a name of up to 20 characters", field="name")
    if not (rate.is_finite() and 0 <= rate < 1 and rate == rate.quantize(_RATE_DECIMALS)):
        raise Invalid("a tax rate is at least 0 and less than 1, with 6 decimals", field="rate")
    row = TaxRate(
        country=country, number=_next_number(TaxRate, country=country), name=name,
        rate=rate, is_inclusive=is_inclusive, has_reverse_charge=has_reverse_charge,
    )  # fmt: skip
    return propose_version(
        row,
        kind="tax_rate",
        subject=f"tax_rate:{country}:{row.number}",
        content=content_of_rate(row),
        proposal=proposal,
        by=by,
        at=at,
    )


@transaction.atomic
def record_tax_id(
    *, customer: Customer, kind: str, value: str, by: User, at: datetime
) -> CustomerTaxId:
    """Keep a customer's tax id from now on; an empty one ends it. The same again adds nothing.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: it does not have the form of its kind.
        Conflict: it is of another country than the customer.
    """
    require_permission(by, "invoicing.record_customertaxid", "record tax ids")
    locked = lock_customer(customer.pk)
    if kind not in TaxIdKind.values:
        raise Invalid(f"a tax id is one of {', '.join(TaxIdKind.values)}", field="kind")
    compact = _compact(kind, value) if value.strip() else ""
    if compact and country_of(kind, compact) != locked.country:
        raise Conflict(
            f"{compact} is of {country_of(kind, compact)}, the customer of"
            f" {locked.country or 'no country'}", field="value",
        )  # fmt: skip
    newest = CustomerTaxId.objects.filter(customer=locked).order_by("-id").first()
    if newest is not None and (newest.kind, newest.value) == (kind, compact):
        return newest
    row = CustomerTaxId.objects.create(
        customer=locked, kind=kind, value=compact, recorded_by=by, recorded_at=at
    )
    audit.record(by=by, at=at, action="record_tax_id", subject=row, kind=kind, value=compact)
    return row


@materialise(
    "market_gate",
    {
        "country": "DE", "currency": "EUR", "tax_registration": "registered",
        "tax_number": "DE811128135", "registered_on": "2025-01-02", "threshold_minor": 1000000,
        "settlement_currency": "EUR", "bank_country": "DE", "payout_days": 3, "entity": "main",
    },
)  # fmt: skip
def _gate_from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(
        content, "country", "currency", "tax_registration", "settlement_currency",
        "bank_country", "payout_days",
    )  # fmt: skip
    checklist = Checklist(
        country=text_in(content, "country"), currency=text_in(content, "currency"),
        tax_registration=text_in(content, "tax_registration"),
        settlement_currency=text_in(content, "settlement_currency"),
        bank_country=text_in(content, "bank_country"),
        payout_days=whole_in(content, "payout_days", 0),
        threshold_minor=minor_in(content, "threshold_minor", 0),
        tax_number=text_in(content, "tax_number", ""),
        registered_on=_day_or_none(content, "registered_on"),
        entity=text_in(content, "entity", MAIN_CODE),
    )  # fmt: skip
    propose_market_gate(checklist=checklist, proposal=proposal, by=by, at=at)


def _day_or_none(content: Content, name: str) -> date | None:
    if not content.get(name):
        return None
    try:
        return date.fromisoformat(text_in(content, name))
    except ValueError as error:
        raise Invalid(f"{content[name]} is no day: write 2026-01-31", field=name) from error


@materialise(
    "tax_rate",
    {
        "country": "DE", "name": "VAT", "rate": "0.19", "is_inclusive": False,
        "has_reverse_charge": True,
    },
)  # fmt: skip
def _rate_from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(content, "country", "name", "rate", "is_inclusive", "has_reverse_charge")
    rate = decimal_or_none_in(content, "rate")
    if rate is None:
        raise Invalid("a tax has a rate: 0.19 is 19 %", field="rate")
    propose_tax_rate(
        country=text_in(content, "country"), name=text_in(content, "name"), rate=rate,
        is_inclusive=yes_or_no_in(content, "is_inclusive"),
        has_reverse_charge=yes_or_no_in(content, "has_reverse_charge"),
        proposal=proposal, by=by, at=at,
    )  # fmt: skip


def _compact(kind: str, value: str) -> str:
    try:
        return normalized(kind, value)
    except BadTaxId as error:
        raise Invalid(str(error), field="value") from error


def _refuse_incomplete(wanted: Checklist) -> None:
    if wanted.country:
        refuse_unknown_country(wanted.country, "country")
    refuse_unknown_country(wanted.bank_country, "bank_country")
    for field in ("currency", "settlement_currency"):
        if not is_currency(getattr(wanted, field)):
            raise Invalid(f"{getattr(wanted, field)} is no currency", field=field)
    if wanted.tax_registration not in TaxRegistration.values:
        names = ", ".join(TaxRegistration.values)
        raise Invalid(f"a tax registration is one of {names}", field="tax_registration")
    has_parts = bool(wanted.tax_number.strip()) and wanted.registered_on is not None
    if wanted.tax_registration == TaxRegistration.REGISTERED and not has_parts:
        raise Invalid("a registration has its number and its date", field="tax_number")
    if wanted.tax_registration == TaxRegistration.NOT_REQUIRED and (
        wanted.tax_number or wanted.registered_on
    ):
        raise Invalid("without a registration there is no number or date", field="tax_number")
    if wanted.tax_registration == TaxRegistration.REGISTERED and not wanted.country:
        raise Invalid("a registration is in a country", field="country")
    if not 0 <= wanted.threshold_minor < 10**15:
        raise Invalid("a threshold is at least nothing", field="threshold_minor")
    if not 0 <= wanted.payout_days <= _LONGEST_PAYOUT:
        raise Invalid(f"payouts take 0 to {_LONGEST_PAYOUT} days", field="payout_days")


def refuse_unknown_country(country: str, field: str) -> None:
    """Refuse what is no country of ISO 3166."""
    if len(country) != 2 or country not in _TERRITORIES:
        raise Invalid(f"{country!r} is no country", field=field)


def _next_number(model: type[Model], **rule: str) -> int:
    """Take the next number; of two who propose at once, the second waits for the first."""
    wait_for(f"{model._meta.db_table}:{':'.join(rule.values())}")
    return next_number(model._default_manager.filter(**rule))
