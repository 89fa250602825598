"""Propose what suppliers charge: the prices of a list that differ, as one sheet to approve.

A new price is a new row, never an edit; it counts once finance approved its sheet.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose
from billing_project.kernel.content import Content, refuse_missing, text_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from credits.models import SupplierRate, SupplierSheet
from credits.selectors.supplier_contents import SHEET, content_of_sheet
from credits.selectors.supplier_rates import Key, prices_at
from credits.supplier_prices import PRICE_DECIMALS, PRICE_LIMIT, SupplierPrice, TokenKind

MOST_PRICES = 50_000
_EXAMPLE = {
    "source": "Price list of January 2026", "currency": "USD",
    "rates": [
        {"supplier": "acme", "model": "small", "token_kind": "input", "unit_price": "0.0000025"},
        {"supplier": "acme", "model": "small", "token_kind": "output", "unit_price": "0.00001"},
    ],
}  # fmt: skip


def differing(
    prices: Sequence[SupplierPrice], currency: str, effective_at: datetime
) -> list[SupplierPrice]:
    """Return the prices of a list that are not in force at an instant as they stand there."""
    in_force = prices_at(effective_at, {price.supplier for price in prices})
    return [price for price in prices if not _is_known(price, currency, in_force)]


@transaction.atomic
def propose_supplier_rates(
    *, prices: Sequence[SupplierPrice], currency: str, source: str, proposal: Proposal, by: User,
    at: datetime,
) -> SupplierSheet:  # fmt: skip
    """Write the prices that differ from those in force when the proposal takes effect.

    Raises:
        Invalid: no prices or too many, one twice, or words that are missing; with its field.
        Conflict: none differs.
    """
    _refuse_bad_words(prices, currency, source)
    new = differing(prices, currency, proposal.effective_at)
    if not new:
        raise Conflict("all these prices are in force already", code="no_difference")
    wait_for(SHEET)
    sheet = SupplierSheet(
        number=next_number(SupplierSheet.objects.all()), currency=currency, source=source.strip()
    )
    rows = [
        SupplierRate(
            sheet=sheet, supplier=price.supplier, model=price.model,
            token_kind=price.token_kind.value, unit_price=price.unit_price, currency=currency,
            effective_at=proposal.effective_at, source=source.strip(), recorded_at=at,
            recorded_by=by,
        )
        for price in sorted(new, key=_key)
    ]  # fmt: skip
    sheet.policy_change = propose(
        kind=SHEET, subject=f"{SHEET}:{sheet.number}", content=content_of_sheet(sheet, rows),
        proposal=proposal, by=by, at=at,
    )  # fmt: skip
    sheet.save(force_insert=True)
    SupplierRate.objects.bulk_create(rows)
    return sheet


def _refuse_bad_words(prices: Sequence[SupplierPrice], currency: str, source: str) -> None:
    if not 0 < len(prices) <= MOST_PRICES:
        raise Invalid(f"a list has 1 to {MOST_PRICES:,} prices", field="rates")
    if len({_key(price) for price in prices}) < len(prices):
        raise Invalid("a supplier, model and kind of token has one price", field="rates")
    if len(currency) != 3 or not currency.isascii() or not currency.isupper():
        raise Invalid("currency: three capital letters, like USD", field="currency")
    if not 0 < len(source.strip()) <= 200:
        raise Invalid(
            "source: say in 1 to 200 characters where the prices come from", field="source"
        )


def _is_known(price: SupplierPrice, currency: str, in_force: Mapping[Key, SupplierRate]) -> bool:
    known = in_force.get(_key(price))
    return known is not None and (known.unit_price, known.currency) == (price.unit_price, currency)


def _key(price: SupplierPrice) -> Key:
    return price.supplier, price.model, price.token_kind.value


@materialise(SHEET, _EXAMPLE)
def _from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(content, "source", "currency", "rates")
    rows = content["rates"]
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise Invalid("rates are a list of prices", field="rates")
    propose_supplier_rates(
        prices=[_price(row) for row in rows], currency=text_in(content, "currency"),
        source=text_in(content, "source"), proposal=proposal, by=by, at=at,
    )  # fmt: skip


def _price(row: Content) -> SupplierPrice:
    refuse_missing(row, "supplier", "model", "token_kind", "unit_price")
    supplier, model = text_in(row, "supplier"), text_in(row, "model")
    is_named = 0 < len(supplier.strip()) <= 64 and 0 < len(model.strip()) <= 128
    if not is_named or "\x00" in supplier + model:
        raise Invalid("the name of a model or supplier is empty or long", field="rates")
    kind = text_in(row, "token_kind")
    if kind not in set(TokenKind):
        raise Invalid(f"{kind} is none of {', '.join(TokenKind)}", field="rates")
    try:
        amount = Decimal(text_in(row, "unit_price"))
    except ArithmeticError as error:
        raise Invalid(f"{row['unit_price']} is no price", field="rates") from error
    is_price = amount.is_finite() and 0 <= amount < PRICE_LIMIT
    if not is_price or amount != amount.quantize(Decimal(1).scaleb(-PRICE_DECIMALS)):
        raise Invalid(f"{row['unit_price']} is no price of a token", field="rates")
    return SupplierPrice(supplier, model, TokenKind(kind), amount)
