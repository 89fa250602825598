"""What a new customer of ours brings along: lines of a file as opening items, and what is wrong.

Pure: text in; items and faults out. Each fault says where it is, what was read and what is allowed,
so that a file can be mended without asking anybody. Amounts of credits are exact; prices are in
major units of the customer's currency, as people write them.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.money import exponent, is_currency
from billing_project.kernel.quantity import typed_number

Content = dict[str, str | int | None]
CATEGORIES = ("paid", "promotional", "goodwill")
COLUMNS = (
    "kind", "source_id", "customer", "name", "currency", "country", "email", "time_zone",
    "credits", "unit", "category", "price", "effective_at", "expires_at", "priority", "plan",
    "start_at", "seats", "amount", "number",
)  # fmt: skip


class ItemKind(StrEnum):
    """What an item becomes here."""

    CUSTOMER = "customer"
    GRANT = "grant"  # What is left of credits, as a grant of its own.
    SUBSCRIPTION = "subscription"
    BALANCE = "balance"  # What the source says a customer has: held against the grants.
    CLAIM = "claim"  # An open invoice: it stays with the source until it is paid there.
    MONEY = "money"  # A balance in money: it stays with the source, too.
    LEFT = "left"  # Left behind, with the reason: used up, void, ended, of no plan here.


@dataclass(frozen=True)
class Fault:
    """Why a line cannot be taken."""

    line: int
    column: str
    read: str
    allowed: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: read {self.read!r}; allowed is {self.allowed}"


@dataclass(frozen=True)
class Item:
    """One thing that a file says, ready to be approved."""

    line: int
    kind: ItemKind
    source_id: str  # Its name at the source; the same name is the same thing for ever.
    customer: str
    content: Content


@dataclass
class Reading:
    """What a file says, and what of it cannot be taken."""

    items: list[Item] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class Bad(Exception):
    """A value that is not allowed."""

    def __init__(self, column: str, read: object, allowed: str) -> None:
        super().__init__(column)
        self.column, self.read, self.allowed = column, read, allowed

    def at(self, line: int) -> Fault:
        """Say where it stands."""
        return Fault(line, self.column, str(self.read), self.allowed)


def read_csv(text: str) -> Reading:
    """Read a CSV of opening customers, grants, balances and subscriptions."""
    reading = Reading()
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        if faults := list(_header_faults(header)):
            reading.faults += faults
            return reading
        for cells in rows:
            if any(cell.strip() for cell in cells):
                _take_row(reading, header, cells, rows.line_num)
    except csv.Error as error:
        reading.faults.append(Fault(rows.line_num, "", str(error), "CSV as RFC 4180 has it"))
    refuse_twice(reading)
    return reading


def refuse_twice(reading: Reading) -> None:
    """Refuse what a file names twice."""
    seen: dict[tuple[str, str], int] = {}
    for item in reading.items:
        key = (item.kind, item.source_id)
        if key in seen:  # A line of Stripe's may hold a page of many.
            bad = Bad("source_id", item.source_id, f"each once; line {seen[key]} has it")
            reading.faults.append(bad.at(item.line))
        seen.setdefault(key, item.line)


def _header_faults(header: Sequence[str]) -> Iterator[Fault]:
    known = ", ".join(COLUMNS)
    for name in header:
        if name not in COLUMNS or header.count(name) > 1:
            yield Fault(1, name, name, f"each once of: {known}")
    for name in ("kind", "source_id", "customer"):
        if name not in header:
            yield Fault(1, name, "", "a column of this name")


def _take_row(reading: Reading, header: Sequence[str], cells: Sequence[str], line: int) -> None:
    if len(cells) != len(header):
        allowed = f"{len(header)} cells, as the first line has"
        reading.faults.append(Fault(line, "", f"{len(cells)} cells", allowed))
        return
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    try:
        kind = one_of(row, "kind", tuple(_READERS))
        named = Item(
            line, ItemKind(kind), text_of(row, "source_id", 100), text_of(row, "customer", 128),
            _READERS[kind](row),
        )  # fmt: skip
    except Bad as bad:
        reading.faults.append(bad.at(line))
    else:
        reading.items.append(named)


def _customer(row: Mapping[str, str]) -> Content:
    return {
        "name": text_of(row, "name", 200),
        "currency": currency_of(row, "currency"),
        "country": row.get("country", ""),
        "email": row.get("email", ""),
        "time_zone": row.get("time_zone", "") or "UTC",
    }


def _grant(row: Mapping[str, str]) -> Content:
    category, currency = one_of(row, "category", CATEGORIES), currency_of(row, "currency")
    price = minor_of(row, "price", currency) if row.get("price") else 0
    if price and category != "paid":
        raise Bad("price", row["price"], "empty, unless the category is paid")
    return {
        "credits": f"{credits_of(row, 'credits'):f}",
        "unit": text_of(row, "unit", 32),
        "category": category,
        "price_minor": price,
        "currency": currency,
        "effective_at": instant_of(row, "effective_at"),
        "expires_at": instant_of(row, "expires_at") if row.get("expires_at") else None,
        "priority": whole_of(row, "priority", 100) if row.get("priority") else 50,
        "name": row.get("name", "")[:100],
    }


def _balance(row: Mapping[str, str]) -> Content:
    return {"credits": f"{credits_of(row, 'credits', 0):f}", "unit": text_of(row, "unit", 32)}


def _subscription(row: Mapping[str, str]) -> Content:
    return {
        "plan": text_of(row, "plan", 64),
        "start_at": instant_of(row, "start_at"),
        "seats": whole_of(row, "seats", 1_000_000) if row.get("seats") else 0,
    }


def _claim(row: Mapping[str, str]) -> Content:
    currency = currency_of(row, "currency")
    amount = minor_of(row, "amount", currency)
    return {"number": row.get("number", ""), "amount_minor": amount, "currency": currency}


_READERS: dict[str, Callable[[Mapping[str, str]], Content]] = {
    ItemKind.CUSTOMER: _customer,
    ItemKind.GRANT: _grant,
    ItemKind.BALANCE: _balance,
    ItemKind.SUBSCRIPTION: _subscription,
    ItemKind.CLAIM: _claim,
    ItemKind.MONEY: _claim,
}


def text_of(row: Mapping[str, str], name: str, most: int) -> str:
    """Read a text that may not be empty."""
    text = row.get(name, "")
    if not 0 < len(text) <= most or not text.isprintable():
        raise Bad(name, text, f"a text of 1 to {most} characters")
    return text


def one_of(row: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    """Read one of some words."""
    text = row.get(name, "")
    if text not in allowed:
        raise Bad(name, text, f"one of {', '.join(map(str, allowed))}")
    return text


def currency_of(row: Mapping[str, str], name: str) -> str:
    """Read a currency."""
    code = row.get(name, "").upper()
    if not is_currency(code):
        raise Bad(name, row.get(name, ""), "an ISO 4217 code such as USD")
    return code


def credits_of(row: Mapping[str, str], name: str, least: int = 1) -> Decimal:
    """Read exact credits: above zero, or not below it."""
    try:
        number = typed_number(row.get(name, ""))
    except ValueError:
        number = Decimal(-1)
    if (
        number < 0
        or (least and not number)
        or number >= Decimal(10) ** 24
        or _decimals(number) > 12
    ):
        raise Bad(name, row.get(name, ""), "a number above 0 with at most 12 decimals")
    return number


def minor_of(row: Mapping[str, str], name: str, currency: str) -> int:
    """Read an amount in major units that minor units express."""
    allowed = f"an amount of {currency} with at most {exponent(currency)} decimals, not below 0"
    try:
        number = typed_number(row.get(name, ""))
    except ValueError as error:
        raise Bad(name, row.get(name, ""), allowed) from error
    minor = number.scaleb(exponent(currency))
    if number < 0 or minor != minor.to_integral_value() or minor >= 10**15:
        raise Bad(name, row.get(name, ""), allowed)
    return int(minor)


def whole_of(row: Mapping[str, str], name: str, most: int) -> int:
    """Read a whole number from 0 on."""
    text = row.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= most):
        raise Bad(name, text, f"a whole number from 0 to {most}")
    return int(text)


def instant_of(row: Mapping[str, str], name: str) -> str:
    """Read an instant with its offset, or a day in UTC; written in UTC."""
    text = row.get(name, "")
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Bad(name, text, "a day (2026-01-31) or an instant with its offset") from error
    if at.tzinfo is None:
        if len(text) != len("2026-01-31"):
            raise Bad(name, text, "an instant with its offset (2026-01-31T09:00:00Z)")
        at = at.replace(tzinfo=UTC)
    try:
        return at.astimezone(UTC).isoformat()
    except OverflowError as error:
        raise Bad(name, text, "an instant of the years 1 to 9999") from error


def _decimals(number: Decimal) -> int:
    places = number.normalize().as_tuple().exponent
    return max(-places, 0) if isinstance(places, int) else 0
