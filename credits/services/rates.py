"""Set up what usage costs in credits: pricing units, rate cards and their proposed versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import cast

from django.db import transaction
from django.db.models import Max

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, propose
from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from credits.models import PricingUnit, Rate, RateCard, RateCardVersion
from credits.rating import ambiguous_pair
from credits.selectors.contents import content_of_rates
from metering.selectors.meters import dimensions_by_code

PRICE_DECIMALS = 18
PRICE_LIMIT = Decimal(10) ** 15


@dataclass(frozen=True)
class RateInput:
    """A wanted rate: credits for one unit of a meter, where the dimensions match."""

    meter_code: str
    dimensions: Mapping[str, str]
    unit_price: Decimal


@transaction.atomic
def create_pricing_unit(*, code: str, name: str, by: User, at: datetime) -> PricingUnit:
    """Make a kind of credit; the same content again returns the same row.

    Raises:
        Conflict: the code is taken by another name.
    """
    unit, made = PricingUnit.objects.get_or_create(code=code, defaults={"name": name})
    if unit.name != name:
        raise Conflict(f"pricing unit {code} exists with another name")
    if made:
        audit.record(by=by, at=at, action="create_pricing_unit", subject=unit, code=code)
    return unit


@transaction.atomic
def create_rate_card(
    *, code: str, name: str, pricing_unit: PricingUnit, by: User, at: datetime
) -> RateCard:
    """Make an empty rate card; its versions are proposed and approved.

    Raises:
        Conflict: the code is taken by other content.
    """
    card, made = RateCard.objects.get_or_create(
        code=code, defaults={"name": name, "pricing_unit": pricing_unit}
    )
    if (card.name, card.pricing_unit_id) != (name, pricing_unit.pk):
        raise Conflict(f"rate card {code} exists with other content")
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
) -> RateCardVersion:
    """Write a version with all its rates; it governs once somebody else approved it.

    Raises:
        Invalid: no rates, one that no usage can match, a price out of bounds, or two rates
            that could match the same usage equally closely.
    """
    card = RateCard.objects.select_for_update().get(pk=rate_card.pk)
    _refuse_bad_rates(rates)
    number = _next_number(card)
    rows = [_rate(rate) for rate in rates]
    change = propose(
        kind="rate_card",
        subject=f"rate_card:{card.code}:{number}",
        content=content_of_rates(card, number, rows),
        proposal=proposal,
        by=by,
        at=at,
    )
    version = RateCardVersion.objects.create(rate_card=card, number=number, policy_change=change)
    for row in rows:
        row.version = version
    Rate.objects.bulk_create(rows)
    return version


def _refuse_bad_rates(rates: Sequence[RateInput]) -> None:
    if not rates:
        raise Invalid("a rate card version has at least one rate")
    meters = dimensions_by_code()
    for rate in rates:
        if rate.meter_code not in meters:
            raise Invalid(f"no meter has the code {rate.meter_code}")
        if unknown := sorted(rate.dimensions.keys() - meters[rate.meter_code]):
            raise Invalid(f"meter {rate.meter_code} has no dimension {', '.join(unknown)}")
        if not all(isinstance(value, str) for value in rate.dimensions.values()):
            raise Invalid("a dimension's value is a text")
        _refuse_bad_price(rate.unit_price)
    _refuse_ambiguity(rates)


def _refuse_bad_price(price: Decimal) -> None:
    if not price.is_finite() or not 0 <= price < PRICE_LIMIT:
        raise Invalid("a unit price is 0 or more, and below 10^15 credits")
    if price and cast(int, price.normalize().as_tuple().exponent) < -PRICE_DECIMALS:
        raise Invalid(f"a unit price has at most {PRICE_DECIMALS} decimals")


def _refuse_ambiguity(rates: Sequence[RateInput]) -> None:
    by_meter = sorted(rates, key=lambda rate: rate.meter_code)
    for code, group in groupby(by_meter, key=lambda rate: rate.meter_code):
        if pair := ambiguous_pair([rate.dimensions for rate in group]):
            raise Invalid(
                f"two rates of {code} can match the same usage:"
                f" {canonical_json(dict(pair[0]))} and {canonical_json(dict(pair[1]))}"
            )


def _next_number(card: RateCard) -> int:
    last = RateCardVersion.objects.filter(rate_card=card).aggregate(last=Max("number"))["last"]
    return cast(int, last or 0) + 1


def _rate(rate: RateInput) -> Rate:
    return Rate(
        meter_code=rate.meter_code,
        dimensions=dict(rate.dimensions),
        dimensions_key=sha256_hex(canonical_json(dict(rate.dimensions))),
        unit_price=rate.unit_price,
    )
