"""Read a supplier's bill: a CSV text in, what each model is billed out.

Columns `model` and `amount` are read, in major units; others are left alone. A model that has
several rows (one for each kind of token) is their sum. No Django.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

_MOST_ROWS, _LIMIT, _DECIMALS = 50_000, Decimal(10) ** 15, Decimal("0.000000000001")
TOLERANCE = Decimal("0.01")  # Suppliers round by the row: a cent a model is no difference.


class UnreadableBill(ValueError):
    """The text is no bill; the message names the row."""


@dataclass(frozen=True)
class Difference:
    """What one model is billed, beside what its usage costs by the supplier's prices."""

    model: str
    billed: Decimal
    expected: Decimal

    @property
    def amount(self) -> Decimal:
        """How much more is billed than expected."""
        return self.billed - self.expected

    @property
    def is_open(self) -> bool:
        """Tell whether somebody has to explain it."""
        return abs(self.amount) > TOLERANCE


def read_bill(text: str) -> dict[str, Decimal]:
    """Sum a bill by model.

    Raises:
        UnreadableBill: no such columns, no rows or too many, or an amount that is none.
    """
    if "\x00" in text:
        raise UnreadableBill("the bill holds a character that no text has")
    try:
        return _summed(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))
    except csv.Error as error:
        raise UnreadableBill(f"the bill is no CSV: {error}") from error


def _summed(rows: "csv.DictReader[str]") -> dict[str, Decimal]:
    if not {"model", "amount"} <= set(rows.fieldnames or ()):
        raise UnreadableBill("the first row names the columns: model and amount")
    found: dict[str, Decimal] = {}
    for number, row in enumerate(rows, start=2):
        if number > _MOST_ROWS:
            raise UnreadableBill(f"a bill has at most {_MOST_ROWS:,} rows")
        model = (row["model"] or "").strip()
        if not 0 < len(model) <= 128:
            raise UnreadableBill(f"row {number}: name a model in up to 128 characters")
        found[model] = found.get(model, Decimal(0)) + _amount(row["amount"], number)
    if not found:
        raise UnreadableBill("the bill has no rows")
    return found


def compared(billed: Mapping[str, Decimal], expected: Mapping[str, Decimal]) -> list[Difference]:
    """Lay a bill beside what usage costs, model by model; the largest difference first."""
    none = Decimal(0)
    rows = [
        Difference(model, billed.get(model, none), expected.get(model, none))
        for model in billed.keys() | expected.keys()
    ]
    return sorted(rows, key=lambda row: (-abs(row.amount), row.model))


def _amount(text: str | None, number: int) -> Decimal:
    said = (text or "").strip()
    if not said.isascii() or "_" in said:
        raise UnreadableBill(f"row {number}: {said[:40]!r} is no amount")
    try:
        amount = Decimal(said)
    except InvalidOperation as error:
        raise UnreadableBill(f"row {number}: {said[:40]!r} is no amount") from error
    if not amount.is_finite() or abs(amount) >= _LIMIT or amount != amount.quantize(_DECIMALS):
        raise UnreadableBill(f"row {number}: {said[:40]!r} is out of bounds")
    return amount
