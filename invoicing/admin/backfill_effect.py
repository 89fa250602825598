"""What a backfill changes, as rows and bars for a page; no database.

The effect that a proposal carries goes in, texts and whole per cents come out.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from billing_project.kernel.backoffice.display import money_text, number_text, sentence_text

_COUNTED = ("lines", "added", "amended", "cancelled", "reinstated", "kept")


def shown_effect(effect: Mapping[str, Any]) -> dict[str, Any]:
    """Return the context of `backoffice/backfill_effect.html`."""
    quantities = list(effect.get("quantities", ()))
    highest: dict[str, Decimal] = {}
    for row in quantities:
        top = max(Decimal(row["before"]), Decimal(row["after"]))
        highest[row["meter"]] = max(highest.get(row["meter"], Decimal(0)), top)
    return {
        "counts": [
            (sentence_text(name), f"{effect[name]:,}") for name in _COUNTED if name in effect
        ],
        "periods": [_period(row) for row in effect.get("money", ())],
        "quantities": [_quantity(row, highest[row["meter"]]) for row in quantities],
        "quantity_count": effect.get("quantity_count", len(quantities)),
    }


def _period(row: Mapping[str, Any]) -> dict[str, str]:
    unit, currency = row["unit"], row["currency"]
    charge = Decimal(row["charge_after"]) - Decimal(row["charge_before"])
    overage = row["overage_minor_after"] - row["overage_minor_before"]
    return {
        "name": row["period"],
        "charge_before": f"{number_text(Decimal(row['charge_before']))} {unit}",
        "charge_after": f"{number_text(Decimal(row['charge_after']))} {unit}",
        "charge_change": _signed(number_text(charge)),
        "money_before": money_text(row["overage_minor_before"], currency),
        "money_after": money_text(row["overage_minor_after"], currency),
        "money_change": _signed(money_text(overage, currency)),
        "consequence": row["consequence"],
    }


def _quantity(row: Mapping[str, Any], highest: Decimal) -> dict[str, Any]:
    before, after = Decimal(row["before"]), Decimal(row["after"])
    of = [row["workspace"], *row["dimensions"].values()]
    return {
        "time": row["time"].replace("T", " ") + (" h" if "T" in row["time"] else ""),
        "meter": row["meter"],
        "of": ", ".join(name for name in of if name),
        "before": number_text(before),
        "after": number_text(after),
        "change": _signed(number_text(after - before)),
        "unit": row["unit"],
        "before_percent": _percent(before, highest),
        "after_percent": _percent(after, highest),
    }


def _percent(value: Decimal, highest: Decimal) -> int:
    return int(value * 100 / highest) if highest else 0


def _signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"
