"""Read a rate's terms as a person or file wrote them; plain values in, a tariff or a fault out.

The form is the one that proposals store and rates keep: decimals as plain text, so that what was
approved is compared to the last character.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from billing_project.kernel.quantity import NotAQuantity, plain, typed_number
from credits.tariff import (
    FlatFee,
    Formula,
    Graduated,
    Package,
    Percentage,
    PerUnit,
    Step,
    Tariff,
    Volume,
)

PRICE_DECIMALS, PRICE_LIMIT = 18, Decimal(10) ** 15
DECIMALS, LIMIT = 12, Decimal(10) ** 24
MAX_TIERS = 100
POOLS = ("workspace", "account")
MATRIX = "matrix"  # Names the matrix whose cell a rate was written as.


class BadTerms(ValueError):
    """A term is missing, unknown or out of its bounds; `field` says which."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class RateTerms:
    """What a rate says beside its meter and dimensions.

    Attributes:
        model: "per_unit", "package", "graduated", "volume", "flat_fee" or "percentage".
        unit_price: Credits per unit; 0 but for "per_unit".
        terms: Of the other models, with decimals as plain text.
        included: Free quantity of a period, in the meter's unit.
        minimum: Least charge of a period with usage.
        maximum: Most charge of a period.
    """

    model: str
    unit_price: Decimal
    terms: Mapping[str, object]
    included: Decimal | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None


def plain_terms(terms: Mapping[str, object]) -> dict[str, object]:
    """Write the decimals of good terms in their one form, so that equal terms are equal text."""
    return {key: value if key == MATRIX else _plain(value) for key, value in terms.items()}


def _plain(value: object) -> object:
    if isinstance(value, str):
        return plain(Decimal(value))
    if isinstance(value, list):
        return [_plain(row) for row in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return value


def tariff_of(rate: RateTerms) -> Tariff:
    """Turn a rate's terms into its price function.

    Raises:
        BadTerms: with the field at fault.
    """
    read = _MODELS.get(rate.model)
    if read is None:
        raise BadTerms("model", f"no pricing model is called {rate.model}")
    wanted, formula = read
    _refuse_unknown("terms", rate.terms, {*wanted, MATRIX})
    if rate.model != "per_unit" and rate.unit_price:
        raise BadTerms("unit_price", f"a rate of model {rate.model} has its prices in its terms")
    included, minimum, maximum = _bounds(rate)
    if included and rate.model == "flat_fee":
        raise BadTerms("included", "a flat fee includes no quantity")
    return Tariff(formula(rate), included or Decimal(0), minimum, maximum)


def _bounds(rate: RateTerms) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    for name in ("included", "minimum", "maximum"):
        value = getattr(rate, name)
        if value is not None:
            _refuse_bad(name, value, DECIMALS, LIMIT, above_zero=True)
    if rate.minimum is not None and rate.maximum is not None and rate.minimum > rate.maximum:
        raise BadTerms("minimum", "the minimum is not above the maximum")
    return rate.included, rate.minimum, rate.maximum


def _per_unit(rate: RateTerms) -> Formula:
    _refuse_bad("unit_price", rate.unit_price, PRICE_DECIMALS, PRICE_LIMIT)
    return PerUnit(rate.unit_price)


def _package(rate: RateTerms) -> Formula:
    return Package(
        size=_decimal("terms.size", rate.terms.get("size"), above_zero=True),
        price=_decimal("terms.price", rate.terms.get("price")),
    )


def _graduated(rate: RateTerms) -> Formula:
    return Graduated(_tiers(rate))


def _volume(rate: RateTerms) -> Formula:
    return Volume(_tiers(rate))


def _flat_fee(rate: RateTerms) -> Formula:
    return FlatFee(_decimal("terms.fee", rate.terms.get("fee")))


def _percentage(rate: RateTerms) -> Formula:
    return Percentage(_decimal("terms.percent", rate.terms.get("percent")))


_MODELS: dict[str, tuple[set[str], Callable[[RateTerms], Formula]]] = {
    "per_unit": (set(), _per_unit),
    "package": ({"size", "price"}, _package),
    "graduated": ({"tiers"}, _graduated),
    "volume": ({"tiers"}, _volume),
    "flat_fee": ({"fee"}, _flat_fee),
    "percentage": ({"percent"}, _percentage),
}


def _tiers(rate: RateTerms) -> tuple[Step, ...]:
    rows = rate.terms.get("tiers")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_TIERS:
        raise BadTerms("terms.tiers", f"tiers are a list of 1 to {MAX_TIERS}")
    steps: list[Step] = []
    for index, row in enumerate(rows):
        path = f"terms.tiers[{index}]"
        step = _tier(path, row)
        _refuse_bad_order(path, step, steps, is_last=index == len(rows) - 1)
        steps.append(step)
    return tuple(steps)


def _tier(path: str, row: object) -> Step:
    if not isinstance(row, Mapping):
        raise BadTerms(path, "a tier has up_to, unit_price and, if any, a flat_fee")
    _refuse_unknown(path, row, {"up_to", "unit_price", "flat_fee"})
    up_to = row.get("up_to")
    return Step(
        None if up_to is None else _decimal(f"{path}.up_to", up_to, above_zero=True),
        _decimal(f"{path}.unit_price", row.get("unit_price"), PRICE_DECIMALS, PRICE_LIMIT),
        _decimal(f"{path}.flat_fee", row.get("flat_fee", "0")),
    )


def _refuse_bad_order(path: str, step: Step, earlier: list[Step], *, is_last: bool) -> None:
    if (step.up_to is None) != is_last:
        raise BadTerms(f"{path}.up_to", "the last tier is open, and only that one")
    before = earlier[-1].up_to if earlier else None
    if before is not None and step.up_to is not None and step.up_to <= before:
        raise BadTerms(f"{path}.up_to", "tiers ascend: each ends above the one before")


def _decimal(
    field: str,
    value: object,
    decimals: int = DECIMALS,
    limit: Decimal = LIMIT,
    *,
    above_zero: bool = False,
) -> Decimal:
    if not isinstance(value, str):
        raise BadTerms(field, "is a decimal number, written as text")
    try:
        number = typed_number(value)
    except NotAQuantity:
        raise BadTerms(field, f"{value[:40]} is no decimal number") from None
    _refuse_bad(field, number, decimals, limit, above_zero=above_zero)
    return number


def _refuse_bad(
    field: str, value: Decimal, decimals: int, limit: Decimal, *, above_zero: bool = False
) -> None:
    least = "more than 0" if above_zero else "0 or more"
    if not value.is_finite() or not 0 <= value < limit or (above_zero and not value):
        raise BadTerms(field, f"is {least}, and below 10^{limit.adjusted()}")
    if value != value.quantize(Decimal(1).scaleb(-decimals)):
        raise BadTerms(field, f"has at most {decimals} decimals")


def _refuse_unknown(path: str, row: Mapping[str, object], known: set[str]) -> None:
    if unknown := sorted(row.keys() - known):
        raise BadTerms(f"{path}.{unknown[0]}", f"there is no such term; known are {sorted(known)}")
