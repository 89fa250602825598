"""Rates as people write them: a sheet with one rate a line, and each rate in words.

A line is CSV: meter, dimensions ("model=gpt-5.4; job=batch"), pricing model, price, tiers
("1000: 0.5; *: 0.2 + 3"), included, minimum, maximum, pools, and the matrix that the rate is a cell
of. What the values mean and whether they are in bounds is for the proposal to judge; here only what
cannot be read is a fault.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from billing_project.kernel.quantity import how_many
from credits.terms import MATRIX

COLUMNS = (
    "meter", "dimensions", "model", "price", "tiers", "included", "minimum", "maximum", "pools",
    "matrix",
)  # fmt: skip
MOST_LINES = 2_000
_OPEN = "*"
_PER = " per "
# What the price of a pricing model is called in its terms.
_PRICES = {"flat_fee": "fee", "percentage": "percent"}
_TIERED = {"graduated", "volume"}


class BadSheet(ValueError):
    """A line cannot be read; the message names it, `column` says where if that is known."""

    def __init__(self, line: int, message: str, column: str = "") -> None:
        super().__init__(f"line {line}: {message}")
        self.line, self.column = line, column


@dataclass(frozen=True)
class SheetRate:
    """One rate as plain text; the names are those of a proposal's content."""

    line: int
    content: Mapping[str, Any]


def read_sheet(text: str) -> list[SheetRate]:
    """Read a sheet, with or without its heading.

    Raises:
        BadSheet: a line has too many cells, or its dimensions, price or tiers cannot be read.
    """
    rates = []
    reader = csv.reader(io.StringIO(text.replace("\r\n", "\n").replace("\r", "\n")), strict=True)
    try:
        for cells in reader:
            said = [cell.strip() for cell in cells]
            if any(said) and tuple(said[:2]) != COLUMNS[:2]:
                rates.append(SheetRate(reader.line_num, _content(reader.line_num, said)))
    except csv.Error as error:
        raise BadSheet(reader.line_num, str(error)) from error
    if len(rates) > MOST_LINES:
        raise BadSheet(reader.line_num, f"a sheet has at most {MOST_LINES:,} rates")
    return rates


def write_sheet(rates: Iterable[Mapping[str, Any]]) -> str:
    """Write rates of a proposal's content as a sheet with its heading."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rate in rates:
        writer.writerow(_cells(rate))
    return out.getvalue()


def in_words(rate: Mapping[str, Any], unit: str, credit: str = "credits") -> str:
    """Say what a rate charges ("first 1,000,000 tokens included, then 0.002 credits a token").

    Args:
        rate: Of a proposal's content.
        unit: The meter's unit, in the singular.
        credit: The pricing unit, in the plural.
    """
    terms = rate.get("terms", {})
    match rate.get("model", "per_unit"):
        case "package":
            words = f"{_n(terms['price'])} {credit} for each {_n(terms['size'])} {unit}s begun"
        case "graduated" | "volume" as model:
            words = _tier_words(terms["tiers"], unit, credit, is_volume=model == "volume")
        case "flat_fee":
            words = f"{_n(terms['fee'])} {credit} a billing period with usage"
        case "percentage":
            words = f"{_n(terms['percent'])} % of the value, in {credit}"
        case _:
            words = f"{_n(rate['unit_price'])} {credit} a {unit}"
    if rate.get("included"):
        words = f"first {_n(rate['included'])} {unit}s included, then {words}"
    if rate.get("minimum"):
        words += f", at least {_n(rate['minimum'])}"
    if rate.get("maximum"):
        words += f", at most {_n(rate['maximum'])}"
    return f"{words}, all workspaces together" if rate.get("pools") == "account" else words


def _tier_words(
    tiers: list[Mapping[str, str | None]], unit: str, credit: str, *, is_volume: bool
) -> str:
    parts = []
    for tier in tiers:
        up_to = tier.get("up_to")
        until = f"up to {_n(up_to)}" if up_to else "beyond"
        fee = f" and {_n(tier['flat_fee'])} once" if tier.get("flat_fee") not in {None, "0"} else ""
        parts.append(f"{until}: {_n(tier['unit_price'])} a {unit}{fee}")
    rule = "all at the price of the tier reached" if is_volume else "each tier at its price"
    return f"{'; '.join(parts)} ({credit}, {rule})"


def _n(text: str | None) -> str:
    whole, dot, fraction = str(text).partition(".")
    return f"{int(whole):,}{dot}{fraction}" if whole.isdecimal() else str(text)


def _content(line: int, cells: list[str]) -> dict[str, Any]:
    if len(cells) > len(COLUMNS) or len(cells) < 4:
        raise BadSheet(line, f"has {how_many(len(cells), 'cell')}, and not {', '.join(COLUMNS)}")
    said = dict(zip(COLUMNS, [*cells, *[""] * (len(COLUMNS) - len(cells))], strict=True))
    model = said["model"] or "per_unit"
    found: dict[str, Any] = {
        "meter_code": said["meter"],
        "dimensions": _dimensions(line, said["dimensions"]),
        "model": model,
        "unit_price": "0",
    }
    if model in _TIERED:
        found["terms"] = {"tiers": _tiers(line, said["tiers"])}
    elif model == "package":
        price, per, size = said["price"].partition(_PER)
        if not per:
            raise BadSheet(line, "the price of a package is written like 10 per 1000", "price")
        found["terms"] = {"price": price.strip(), "size": size.strip()}
    elif name := _PRICES.get(model):
        found["terms"] = {name: said["price"]}
    else:
        found["unit_price"] = said["price"]
    if said["tiers"] and model not in _TIERED:
        raise BadSheet(line, "tiers are for graduated and volume", "tiers")
    if said["matrix"]:
        found.setdefault("terms", {})[MATRIX] = said["matrix"]
    optional = {name: said[name] for name in ("included", "minimum", "maximum", "pools")}
    return found | {name: value for name, value in optional.items() if value}


def _dimensions(line: int, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value) or name in found:
            raise BadSheet(
                line, "dimensions are written like model=gpt-5.4; job=batch", "dimensions"
            )
        found[name] = value
    return found


def _tiers(line: int, text: str) -> list[dict[str, str | None]]:
    tiers = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        up_to, colon, price = (piece.strip() for piece in part.partition(":"))
        unit_price, plus, fee = (piece.strip() for piece in price.partition("+"))
        if not (colon and up_to and unit_price):
            raise BadSheet(line, "tiers are written like 1000: 0.5; *: 0.2 + 3", "tiers")
        tier: dict[str, str | None] = {
            "up_to": None if up_to == _OPEN else up_to,
            "unit_price": unit_price,
        }
        tiers.append(tier | ({"flat_fee": fee} if plus else {}))
    return tiers


def _cells(rate: Mapping[str, Any]) -> list[str]:
    model, terms = rate.get("model", "per_unit"), rate.get("terms", {})
    price = terms.get(_PRICES[model], "") if model in _PRICES else ""
    if model == "per_unit":
        price = rate["unit_price"]
    elif model == "package":
        price = f"{terms['price']}{_PER}{terms['size']}"
    tiers = "; ".join(_tier_text(tier) for tier in terms.get("tiers", []))
    return [
        rate["meter_code"],
        "; ".join(f"{name}={value}" for name, value in sorted(rate["dimensions"].items())),
        model, price, tiers,
        *(rate.get(name, "") for name in ("included", "minimum", "maximum", "pools")),
        terms.get(MATRIX, ""),
    ]  # fmt: skip


def _tier_text(tier: Mapping[str, str | None]) -> str:
    fee = f" + {tier['flat_fee']}" if tier.get("flat_fee") not in {None, "0"} else ""
    return f"{tier.get('up_to') or _OPEN}: {tier['unit_price']}{fee}"
