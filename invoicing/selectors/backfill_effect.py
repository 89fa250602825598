"""What a backfill was submitted as, for the eyes of its approver: money first, then quantities."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.money import Money

_COUNTS = ("added", "amended", "cancelled", "reinstated", "kept")


@effect_of("backfill")
def of_backfill(change: PolicyChange) -> Effect | None:
    """Read the effect out of the preview that is submitted.

    It is not computed anew: what is approved is the preview of one state of the range, and a
    backfill whose range has changed since is not applied.
    """
    content = json.loads(change.content)
    if change.effect is not None or "money" not in content:  # Metering alone prices nothing.
        return None
    rows = (*_money(content["money"]), *map(_quantity, content["quantities"]))
    counts = ", ".join(f"{content[name]} {name}" for name in _COUNTS if content[name])
    left = content["quantity_count"] - len(content["quantities"])
    basis = f"The preview of {content['customer']}: events {counts or 'unchanged'}" + (
        f"; {left} smaller quantities are left out" if left else ""
    )
    return Effect(basis, rows, customers=1, grants=0)


def _money(periods: list[Mapping[str, Any]]) -> Iterator[EffectRow]:
    for one in periods:
        name, unit, currency = one["period"], one["unit"], one["currency"]
        yield EffectRow(
            f"Credits used, {name}", None, Decimal(one["charge_before"]),
            Decimal(one["charge_after"]), unit,
        )  # fmt: skip
        yield EffectRow(
            f"Overage, {name}: {one['consequence']}", None,
            Money(one["overage_minor_before"], currency).decimal,
            Money(one["overage_minor_after"], currency).decimal, currency,
        )  # fmt: skip


def _quantity(one: Mapping[str, Any]) -> EffectRow:
    of = [one["workspace"], *one["dimensions"].values()]
    named = ", ".join([one["meter"], *(name for name in of if name)])
    return EffectRow(
        f"{named}, {one['time']}", None, Decimal(one["before"]), Decimal(one["after"]), one["unit"]
    )
