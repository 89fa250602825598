"""What the lineage page says of a month of the books: its entries by kind, and who signed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing_project.console.lineage import Month
from billing_project.console.navigation import lineage_url
from billing_project.kernel.backoffice.base import is_id
from billing_project.kernel.backoffice.display import (
    moment_text,
    money_text,
    number_text,
    object_url,
)
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User


@dataclass(frozen=True)
class KindRow:
    """The entries of one kind and currency."""

    kind: str
    url: str
    count: str
    amount: str


def after_of(text: str) -> int | None:
    """Read after which entry a page of a month begins.

    Raises:
        Invalid: it is no id.
    """
    if not text:
        return None
    if not is_id(text):
        raise Invalid("a page of a month begins after an entry's id")
    return int(text)


def month_context(month: Month, kind: str) -> dict[str, Any]:
    """Return what the template shows of a month besides its picture."""
    name, chosen = str(month.period), f"&kind={kind}" if kind else ""
    url = lineage_url("period", name)
    return {
        "kind": kind,
        "kinds": [
            KindRow(
                total.kind,
                f"{url}&kind={total.kind}",
                number_text(total.entry_count),
                money_text(total.amount_minor, total.currency),
            )
            for total in month.totals
        ],
        "first_url": f"{url}{chosen}",
        "next_url": f"{url}{chosen}&after={month.next_id}" if month.next_id else "",
        "signed": _signed(month),
    }


def _signed(month: Month) -> list[tuple[str, str, str, str]]:
    """List what was signed of the month: what, when, by whom, and its page."""
    period, seal = month.period, month.seal
    page = object_url(period)
    rows: list[tuple[str, datetime, User | None, str]] = [
        (f"Exception: {one.says} ({one.reason})", one.signed_at, one.signed_by, object_url(one))
        for one in month.exceptions
    ]
    if period.soft_closed_at:
        rows.insert(0, ("Close proposed", period.soft_closed_at, period.soft_closed_by, page))
    if period.closed_at:
        rows.append(("Closed", period.closed_at, period.closed_by, page))
    if seal:
        what = f"Sealed to position {seal.head_position} of {seal.entity}"
        rows.append((what, seal.sealed_at, seal.sealed_by, object_url(seal)))
    return [(what, moment_text(at), str(person or "-"), url) for what, at, person, url in rows]
