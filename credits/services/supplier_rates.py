"""Record what suppliers charge; a new price is a new row, never an edit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from credits.models import SupplierRate
from credits.selectors.supplier_rates import Key, prices_at
from credits.supplier_prices import SupplierPrice

MOST_PRICES = 50_000


@dataclass(frozen=True)
class Imported:
    """How many prices were new, and how many were in force already."""

    new: int
    same: int


@transaction.atomic
def record_supplier_rates(
    *,
    prices: Sequence[SupplierPrice],
    currency: str,
    effective_at: datetime,
    source: str,
    by: User,
    at: datetime,
) -> Imported:
    """Write the prices that differ from those in force at `effective_at`.

    The same list again writes nothing.

    Raises:
        Invalid: no prices, too many, or words that are missing.
        Conflict: a price stands there from the same instant on, with another amount.
    """
    _refuse_bad_words(prices, currency, source)
    supplied = {price.supplier for price in prices}
    in_force = prices_at(effective_at, supplied)
    new = [price for price in prices if not _is_known(price, currency, in_force)]
    for price in new:
        same_key = in_force.get(_key(price))
        if same_key is not None and same_key.effective_at == effective_at:
            raise Conflict(
                f"{price.model} has another {price.token_kind} price from"
                f" {effective_at:%Y-%m-%d %H:%M} on: {same_key.unit_price.normalize():f}"
                f" {same_key.currency}; choose a later instant",
                code="supplier_rate_exists",
            )
    rows = SupplierRate.objects.bulk_create(
        _row(price, currency, effective_at, source, by, at) for price in new
    )
    if rows:
        audit.record(
            by=by,
            at=at,
            action="record_supplier_rates",
            subject=rows[0],
            source=source,
            count=len(rows),
        )
    return Imported(len(rows), len(prices) - len(rows))


def _refuse_bad_words(prices: Sequence[SupplierPrice], currency: str, source: str) -> None:
    if not 0 < len(prices) <= MOST_PRICES:
        raise Invalid(f"a list has 1 to {MOST_PRICES:,} prices")
    if len(currency) != 3 or not currency.isascii() or not currency.isupper():
        raise Invalid("currency: three capital letters, like USD")
    if not 0 < len(source.strip()) <= 200:
        raise Invalid("source: say in 1 to 200 characters where the prices come from")


def _is_known(price: SupplierPrice, currency: str, in_force: dict[Key, SupplierRate]) -> bool:
    known = in_force.get(_key(price))
    return known is not None and (known.unit_price, known.currency) == (price.unit_price, currency)


def _key(price: SupplierPrice) -> Key:
    return price.supplier, price.model, price.token_kind.value


def _row(
    price: SupplierPrice, currency: str, effective_at: datetime, source: str, by: User, at: datetime
) -> SupplierRate:
    return SupplierRate(
        supplier=price.supplier,
        model=price.model,
        token_kind=price.token_kind.value,
        unit_price=price.unit_price,
        currency=currency,
        effective_at=effective_at,
        source=source.strip(),
        recorded_at=at,
        recorded_by=by,
    )
