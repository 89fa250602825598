"""Set up what usage costs in credits: pricing units, rate cards and their proposed versions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, propose
from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.content import is_text
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.money import is_currency
from billing_project.kernel.versions import next_number
from credits import rate_rows
from credits.models import (
    Pools,
    PricingModel,
    PricingUnit,
    Rate,
    RateCard,
    RateCardVersion,
    RatePin,
)
from credits.rating import WORKSPACE, ambiguous_pair
from credits.selectors.contents import content_of_rates
from credits.selectors.prices import Prices
from credits.selectors.tariffs import tariff_of_rate
from credits.terms import MATRIX, BadTerms, plain_terms
from metering.models import Customer
from metering.selectors.meters import dimensions_by_code, inactive_codes

OVERRIDE_PREFIX = "rate_override:"  # Codes of overrides; those of other cards begin otherwise.
_LONGEST_CODE, _LONGEST_NAME = 64, 200
_DEAD = (PolicyStatus.REJECTED, PolicyStatus.WITHDRAWN)


@dataclass(frozen=True)
class RateInput:
    """A wanted rate: what a meter's quantity costs, where the dimensions match.

    Attributes:
        unit_price: Credits for one unit; 0 for the models that have their prices in `terms`.
        terms: See `Rate`; decimals as plain text.
        included: Free quantity of a billing period, in the meter's unit.
        minimum: Least credits of a billing period with usage.
        maximum: Most credits of a billing period.
        pools: Whether tiers, allowance and bounds are each workspace's own, or the account's.
    """

    meter_code: str
    dimensions: Mapping[str, str]
    unit_price: Decimal = Decimal(0)
    model: str = PricingModel.PER_UNIT
    terms: Mapping[str, object] = field(default_factory=dict)
    included: Decimal | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    pools: str = Pools.WORKSPACE


@dataclass(frozen=True)
class Matrix:
    """Unit prices by several dimensions at once: a short way to write many rates.

    Attributes:
        name: What each of its rates says that it is a cell of.
        axes: Names of dimensions.
        cells: Unit price by one value for each axis, in the order of the axes.
    """

    name: str
    meter_code: str
    axes: Sequence[str]
    cells: Mapping[tuple[str, ...], Decimal]


def rates_of_matrix(matrix: Matrix) -> list[RateInput]:
    """Write a matrix as one rate for each cell.

    Raises:
        Invalid: it has no name, or a cell has not one value for each axis.
    """
    if not matrix.name.strip():
        raise Invalid("a matrix has a name", field="name")
    if not matrix.axes or len(set(matrix.axes)) < len(matrix.axes):
        raise Invalid("a matrix has one or more dimensions, each once", field="axes")
    for values in matrix.cells:
        if len(values) != len(matrix.axes):
            raise Invalid(f"cell {values} has not one value for each axis", field="cells")
    return [
        RateInput(
            matrix.meter_code,
            dict(zip(matrix.axes, values, strict=True)),
            price,
            terms={MATRIX: matrix.name},
        )
        for values, price in matrix.cells.items()
    ]


def rates_of_content(content: Mapping[str, Any]) -> list[RateInput]:
    """Read the rates back from a proposal's content, or from an edited draft of one.

    Raises:
        Invalid: it has another shape, or a decimal is not written as one; with its field, as
            "rates[3].meter_code".
    """
    try:
        rows = rate_rows.rows_of(content)
        return [_input(f"rates[{index}]", row) for index, row in enumerate(rows)]
    except BadTerms as error:
        raise Invalid(f"{error.field}: {error}", field=error.field) from error


@transaction.atomic
def create_pricing_unit(
    *, code: str, name: str, by: User, at: datetime, currency: str = ""
) -> PricingUnit:
    """Make a kind of credit; the same content again returns the same row.

    Args:
        currency: Makes it a currency: one of the unit is one of the currency.

    Raises:
        Conflict: the code is taken by other content, or the currency has its unit already.
        Invalid: there is no such currency.
    """
    if currency and not is_currency(currency):
        raise Invalid(f"{currency} is no currency", field="currency")
    others = PricingUnit.objects.exclude(code=code)
    if currency and others.filter(currency=currency).exists():
        raise Conflict(f"{currency} has its pricing unit already", field="currency")
    unit, made = PricingUnit.objects.get_or_create(
        code=code, defaults={"name": name, "currency": currency}
    )
    if (unit.name, unit.currency) != (name, currency):
        raise Conflict(f"pricing unit {code} exists with other content", field="code")
    if made:
        audit.record(by=by, at=at, action="create_pricing_unit", subject=unit, code=code)
    return unit


@transaction.atomic
def create_rate_card(
    *, code: str, name: str, pricing_unit: PricingUnit, by: User, at: datetime
) -> RateCard:
    """Make an empty rate card; its versions are proposed and approved.

    Raises:
        Invalid: a code or name that is empty or too long, or a code as overrides have.
        Conflict: the code is taken by other content.
    """
    if not 0 < len(code.strip()) <= _LONGEST_CODE or code.startswith(OVERRIDE_PREFIX):
        raise Invalid(
            f"a rate card's code has 1 to {_LONGEST_CODE} characters and does not begin with"
            f" {OVERRIDE_PREFIX}",
            field="code",
        )
    if not 0 < len(name.strip()) <= _LONGEST_NAME:
        raise Invalid(f"a rate card's name has 1 to {_LONGEST_NAME} characters", field="name")
    card, made = RateCard.objects.get_or_create(
        code=code, defaults={"name": name, "pricing_unit": pricing_unit}
    )
    if (card.name, card.pricing_unit_id, card.base_id) != (name, pricing_unit.pk, None):
        raise Conflict(f"rate card {code} exists with other content", field="code")
    if made:
        audit.record(by=by, at=at, action="create_rate_card", subject=card, code=code)
    return card


@transaction.atomic
def propose_rate_card_version(
    *,
    rate_card: RateCard,
    rates: Sequence[RateInput],
    proposal: Proposal,
    by: User,
    at: datetime,
    stays: Collection[Customer] = (),
) -> RateCardVersion:
    """Write a version with all its rates; it governs once somebody else approved it.

    Args:
        stays: Customers who keep the version that they have when this one begins.

    Raises:
        Invalid: no rates, one that no usage can match, a term out of its bounds, or two rates
            that could match the same usage equally closely; with its field.
        Conflict: another version of the card begins at the same instant.
    """
    if not rates:
        raise Invalid("a rate card version has at least one rate", field="rates")
    card = RateCard.objects.select_for_update(of=("self",)).get(pk=rate_card.pk)
    if card.base_id is not None:
        raise Invalid("an override is proposed for its customer", field="rate_card")
    return write_version(card, rates, proposal, by, at, stays)


def rollback_rate_card(
    *, rate_card: RateCard, to_number: int, proposal: Proposal, by: User, at: datetime
) -> RateCardVersion:
    """Propose a new version with the rates of an old one: history is not rewritten.

    Raises:
        Invalid: the card has no approved version of that number.
    """
    old = rate_card.versions.filter(
        number=to_number, policy_change__status=PolicyStatus.APPROVED
    ).first()
    if old is None:
        raise Invalid(f"{rate_card} has no approved version {to_number}", field="to_number")
    rates = [_input_of_rate(rate) for rate in old.rates.order_by("pk")]
    return propose_rate_card_version(
        rate_card=rate_card, rates=rates, proposal=proposal, by=by, at=at
    )


def write_version(
    card: RateCard,
    rates: Sequence[RateInput],
    proposal: Proposal,
    by: User,
    at: datetime,
    stays: Collection[Customer] = (),
) -> RateCardVersion:
    """Propose a version of a locked card, an override's too."""
    rows = _rows(rates, proposal.effective_at)
    _refuse_same_instant(card, proposal.effective_at)
    number = next_number(RateCardVersion.objects.filter(rate_card=card))
    pins = _pins_of_stays(card, stays, proposal.effective_at)
    kind, subject = "rate_card", f"rate_card:{card.code}:{number}"
    if card.base_id is not None:
        kind, subject = "rate_override", f"{card.code}:{number}"
    change = propose(
        kind=kind,
        subject=subject,
        content=content_of_rates(card, number, rows, pins),
        proposal=proposal,
        by=by,
        at=at,
    )
    version = RateCardVersion.objects.create(rate_card=card, number=number, policy_change=change)
    for row in rows:
        row.version = version
    Rate.objects.bulk_create(rows)
    for pin in pins:
        pin.policy_change = change
    RatePin.objects.bulk_create(pins)
    return version


def _rows(rates: Sequence[RateInput], effective_at: datetime) -> list[Rate]:
    """Turn wanted rates into rows, unless one of them is bad."""
    meters, inactive = dimensions_by_code(), inactive_codes(effective_at)
    for index, rate in enumerate(rates):
        _refuse_unknown(f"rates[{index}]", rate, meters)
        if since := inactive.get(rate.meter_code):
            raise Invalid(
                f"meter {rate.meter_code} is inactive from {since:%Y-%m-%d %H:%M} UTC on",
                field=f"rates[{index}].meter_code",
            )
    rows = [_row(f"rates[{index}]", rate) for index, rate in enumerate(rates)]
    _refuse_ambiguity(rates)
    return rows


def _refuse_unknown(path: str, rate: RateInput, meters: Mapping[str, set[str]]) -> None:
    if rate.meter_code not in meters:
        raise Invalid(
            f"no meter in force has the code {rate.meter_code}", field=f"{path}.meter_code"
        )
    if unknown := sorted(rate.dimensions.keys() - meters[rate.meter_code] - {WORKSPACE}):
        raise Invalid(
            f"meter {rate.meter_code} has no dimension {', '.join(unknown)}",
            field=f"{path}.dimensions.{unknown[0]}",
        )
    if not all(map(is_text, rate.dimensions.values())):
        raise Invalid("a dimension's value is a text", field=f"{path}.dimensions")
    if rate.pools not in Pools.values:
        raise Invalid(f"a rate pools by {' or '.join(Pools.values)}", field=f"{path}.pools")


def _row(path: str, rate: RateInput) -> Rate:
    row = Rate(
        meter_code=rate.meter_code,
        dimensions=dict(rate.dimensions),
        dimensions_key=sha256_hex(canonical_json(dict(rate.dimensions))),
        model=rate.model,
        unit_price=rate.unit_price,
        terms=dict(rate.terms),
        included=rate.included,
        minimum=rate.minimum,
        maximum=rate.maximum,
        pools=rate.pools,
    )
    try:
        tariff_of_rate(row)
    except BadTerms as error:
        name = error.field.rpartition(".")[2].replace("_", " ")
        raise Invalid(f"{name}: {error}", field=f"{path}.{error.field}") from error
    row.terms = plain_terms(row.terms)
    return row


def _refuse_ambiguity(rates: Sequence[RateInput]) -> None:
    by_meter: dict[str, list[int]] = {}
    for index, rate in enumerate(rates):
        by_meter.setdefault(rate.meter_code, []).append(index)
    for code, indexes in by_meter.items():
        if pair := ambiguous_pair([rates[index].dimensions for index in indexes]):
            one, other = (canonical_json(dict(dimensions)) for dimensions in pair)
            at_fault = next(i for i in reversed(indexes) if rates[i].dimensions == pair[1])
            raise Invalid(
                f"two rates of {code} can match the same usage: {one} and {other}",
                field=f"rates[{at_fault}].dimensions",
            )


def _refuse_same_instant(card: RateCard, effective_at: datetime) -> None:
    others = RateCardVersion.objects.filter(
        rate_card=card, policy_change__effective_at=effective_at
    ).exclude(policy_change__status__in=_DEAD)
    if other := others.first():
        raise Conflict(
            f"version {other.number} begins at the same instant; reject or withdraw one of them",
            code="overlap",
            field="effective_at",
        )


def _pins_of_stays(
    card: RateCard, stays: Collection[Customer], effective_at: datetime
) -> list[RatePin]:
    prices = Prices({card.pk}, [customer.pk for customer in stays])
    pins = []
    for customer in {customer.pk: customer for customer in stays}.values():
        version = prices.chosen(customer.pk, card.pk, effective_at)
        if version is None:
            raise Invalid(f"{customer} has no version of {card} to stay at", field="stays")
        pins.append(RatePin(customer=customer, rate_card=card, version=version))
    return pins


def _input_of_rate(rate: Rate) -> RateInput:
    return RateInput(
        rate.meter_code,
        rate.dimensions,
        rate.unit_price,
        rate.model,
        rate.terms,
        rate.included,
        rate.minimum,
        rate.maximum,
        rate.pools,
    )


def _input(path: str, row: Mapping[str, object]) -> RateInput:
    model = rate_rows.text_of(path, row, "model", PricingModel.PER_UNIT)
    price = rate_rows.decimal_of(path, row, "unit_price")
    if price is None and model == PricingModel.PER_UNIT:
        raise BadTerms(f"{path}.unit_price", "a rate per unit has its price; 0 is said")
    return RateInput(
        meter_code=rate_rows.text_of(path, row, "meter_code"),
        dimensions=rate_rows.dimensions_of(path, row),
        unit_price=price or Decimal(0),
        model=model,
        terms=rate_rows.terms_of(path, row),
        included=rate_rows.decimal_of(path, row, "included"),
        minimum=rate_rows.decimal_of(path, row, "minimum"),
        maximum=rate_rows.decimal_of(path, row, "maximum"),
        pools=rate_rows.text_of(path, row, "pools", Pools.WORKSPACE),
    )
