"""Rates beside what was used: for each meter and dimensions, what a version charges a unit."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.db.models import Exists, OuterRef, Sum

from billing_project.kernel.canonical import canonical_json
from billing_project.kernel.quantity import round_unrounded
from credits.models import (
    BillingPeriod,
    CreditGrant,
    GrantCategory,
    Rate,
    RateCard,
    RateCardVersion,
)
from credits.rating import WORKSPACE, AmbiguousRate, RateOption, asked_of, match_rate
from credits.selectors.governing import governing_rate_card_version
from credits.selectors.supplier_rates import dearest_at
from credits.selectors.tariffs import tariff_of_rate
from credits.supplier_prices import TokenKind, token_kind_of
from credits.tariff import ChargeOutOfBounds, PerUnit, Tariff
from metering.models import Meter, UsageWindow

MOST_ROWS = 500


@dataclass(frozen=True)
class RateFound:
    """The rate of one version for a row.

    `credits_a_unit` is exact for a price per unit; of another pricing model it is the average over
    the quantity in traffic, or over one unit where there is none. `is_inherited`: an override says
    nothing of it, so that the card it overrides does.
    """

    rate: Rate
    credits_a_unit: Decimal
    is_average: bool
    is_inherited: bool = False


@dataclass(frozen=True)
class BurnRow:
    """One meter and dimensions: a rate of a version, or a combination seen in traffic."""

    meter: Meter
    dimensions: dict[str, str]
    token_kind: TokenKind | None
    quantity: Decimal  # Used since the table's start; 0 for a rate nobody used.
    found: tuple[RateFound | None, ...]  # For each version, in their order.
    supplier_price: Decimal | None  # Major units a unit of the meter.
    supplier: str

    @property
    def model(self) -> str:
        """The model, "" where the row is of any model or its usage says none."""
        return self.dimensions.get("model") or ""

    @property
    def is_used(self) -> bool:
        """Tell whether the combination is in traffic."""
        return self.quantity > 0


@dataclass(frozen=True)
class BurnTable:
    """The rows by meter and dimensions; `is_cut` where there are more."""

    rows: tuple[BurnRow, ...]
    is_cut: bool


def burn_table(
    card: RateCard,
    versions: Sequence[RateCardVersion],
    currency: str,
    since: datetime,
    at: datetime,
) -> BurnTable:
    """List every rate of the versions and every combination that the card's customers used.

    Args:
        versions: Of the card, one or two to compare.
        currency: In which suppliers' prices are looked up.
        since: Where the traffic begins.
    """
    by_version = [_rates_by_meter(version) for version in versions]
    inherited = _inherited(card, at)
    used = _traffic(card, since, at, _by_workspace((*by_version, inherited)))
    keys = {key for rates in (*by_version, inherited) for key in _keys(rates)} | set(used)
    meters = {meter.code: meter for meter in Meter.objects.all()}
    prices = dearest_at(at, currency)
    rows = []
    for code, text in sorted(keys, key=_place)[:MOST_ROWS]:
        dimensions, quantity = _read(text), used.get((code, text), Decimal(0))
        kind = token_kind_of(code, dimensions)
        price = prices.get((dimensions.get("model", ""), kind.value if kind else ""))
        rows.append(
            BurnRow(
                meter=meters[code],
                dimensions=dimensions,
                token_kind=kind,
                quantity=quantity,
                found=tuple(
                    _found(rates.get(code, ()), dimensions, quantity)
                    or _of_base(_found(inherited.get(code, ()), dimensions, quantity))
                    for rates in by_version
                ),
                supplier_price=price.unit_price if price else None,
                supplier=price.supplier if price else "",
            )
        )
    return BurnTable(tuple(rows), len(keys) > MOST_ROWS)


def paid_grants(card: RateCard, currency: str) -> list[tuple[int, Decimal]]:
    """List (price in minor units, credits) of the grants of a card's unit that were paid for."""
    grants = CreditGrant.objects.filter(
        pricing_unit_id=card.pricing_unit_id,
        currency=currency,
        category=GrantCategory.PAID,
        price_minor__gt=0,
    )
    return list(grants.values_list("price_minor", "amount"))


def _rates_by_meter(version: RateCardVersion) -> dict[str, list[Rate]]:
    rates: dict[str, list[Rate]] = {}
    for rate in version.rates.order_by("pk"):
        rates.setdefault(rate.meter_code, []).append(rate)
    return rates


def _inherited(card: RateCard, at: datetime) -> dict[str, list[Rate]]:
    """Return the rates in force of the card that an override overrides; none of another card."""
    base = governing_rate_card_version(card.base, at) if card.base else None
    return _rates_by_meter(base) if base else {}


def _of_base(found: RateFound | None) -> RateFound | None:
    return replace(found, is_inherited=True) if found else None


def _keys(rates: Mapping[str, Sequence[Rate]]) -> Iterable[tuple[str, str]]:
    return ((code, canonical_json(rate.dimensions)) for code, of in rates.items() for rate in of)


def _place(key: tuple[str, str]) -> tuple[str, str, str]:
    """Sort by model, then by meter; rows of any model come first."""
    code, text = key
    return _read(text).get("model") or "", code, text  # Usage may say no model: null.


def _by_workspace(versions: Iterable[Mapping[str, Sequence[Rate]]]) -> set[str]:
    """List the meters of which some version has a rate of some workspace."""
    return {
        code
        for rates in versions
        for code, of in rates.items()
        if any(WORKSPACE in rate.dimensions for rate in of)
    }


def _traffic(
    card: RateCard, since: datetime, at: datetime, by_workspace: set[str]
) -> dict[tuple[str, str], Decimal]:
    """Sum what customers of the card used, by meter and dimensions.

    Args:
        by_workspace: Meters whose usage is split by workspace, too.
    """
    on_card = BillingPeriod.objects.filter(
        customer_id=OuterRef("customer_id"), rate_card_id=card.base_id or card.pk, end_at__gt=since
    )
    windows = UsageWindow.objects.filter(Exists(on_card), start_at__gte=since, start_at__lt=at)
    if card.customer_id is not None:
        windows = windows.filter(customer_id=card.customer_id)
    rows = windows.values_list("meter__code", "workspace__external_id", "dimensions").order_by()
    found: dict[tuple[str, str], Decimal] = {}
    for code, workspace, dimensions, quantity in rows.annotate(Sum("quantity")):
        place = (workspace or "") if code in by_workspace else ""
        key = (code, canonical_json(dict(asked_of(dimensions, place))))
        found[key] = found.get(key, Decimal(0)) + quantity
    return found


def _found(
    rates: Sequence[Rate], dimensions: dict[str, str], quantity: Decimal
) -> RateFound | None:
    """Find the rate that prices such usage; a row of a rate is usage with just its dimensions."""
    try:
        match = match_rate([RateOption(rate.pk, rate.dimensions) for rate in rates], dimensions)
    except AmbiguousRate:
        return None
    if match is None:
        return None
    rate = next(rate for rate in rates if rate.pk == match.id)
    return _priced(rate, quantity)


def _priced(rate: Rate, quantity: Decimal) -> RateFound:
    """Tell what a unit costs: of other models on average over what was used, or of one unit.

    Where so much was used that no charge can hold it, one unit has to do too.
    """
    tariff = tariff_of_rate(rate)
    if tariff == Tariff(PerUnit(rate.unit_price)):
        return RateFound(rate, rate.unit_price, is_average=False)
    try:
        used = quantity or Decimal(1)
        average = tariff.charge(used).total / used
    except ChargeOutOfBounds:
        average = tariff.charge(Decimal(1)).total
    return RateFound(rate, round_unrounded(average), is_average=True)


def _read(text: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(text)
    return found
