"""A sheet of suppliers' prices in one form, and what it makes of the last 30 days' cost."""

import json
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

from billing_project.kernel.approvals import content_of
from billing_project.kernel.canonical import canonical_json
from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.period import Period, hour_of
from billing_project.kernel.quantity import plain
from credits.models import SupplierRate, SupplierSheet
from credits.selectors.supplier_costs import costs_by_day
from credits.selectors.supplier_rates import prices_at

SHEET = "supplier_rates"
_DAYS, _MILLION, _ZERO = 30, Decimal(1_000_000), Decimal(0)

register_kind(
    Kind(
        SHEET, "Suppliers' prices", parts="rates",
        consequence="From its effective date on these prices are what usage costs us, in the burn"
        " table, in margins and in scenarios. Prices that it does not name stay.",
    )
)  # fmt: skip


def content_of_sheet(sheet: SupplierSheet, rates: Iterable[SupplierRate]) -> dict[str, object]:
    """Return a sheet with its prices sorted, as plain text."""
    rows = [
        {
            "supplier": rate.supplier, "model": rate.model, "token_kind": str(rate.token_kind),
            "unit_price": plain(rate.unit_price),
        }
        for rate in rates
    ]  # fmt: skip
    return {
        "number": sheet.number,
        "source": sheet.source,
        "currency": sheet.currency,
        "rates": sorted(rows, key=canonical_json),
    }


@content_of(SHEET)
def _content_of_change(change: PolicyChange) -> dict[str, object]:
    sheet = SupplierSheet.objects.get(policy_change=change)
    return content_of_sheet(sheet, sheet.rates.all())


@effect_of(SHEET)
def _effect(change: PolicyChange) -> Effect:
    """Lay each price beside the one in force, and both on the last 30 days' tokens."""
    content = json.loads(change.content)
    currency = content["currency"]
    in_force = prices_at(change.effective_at)
    end = hour_of(change.proposed_at)
    used: dict[tuple[str, str], Decimal] = {}
    for one in costs_by_day(Period(end - timedelta(days=_DAYS), end), currency):
        what = (one.model, one.kind)
        used[what] = used.get(what, _ZERO) + one.quantity
    rows, before, after = [], _ZERO, _ZERO
    for rate in content["rates"]:
        what = (rate["model"], rate["token_kind"])
        known = in_force.get((rate["supplier"], *what))
        old = known.unit_price if known and known.currency == currency else _ZERO
        new, quantity = Decimal(rate["unit_price"]), used.get(what, _ZERO)
        before, after = before + old * quantity, after + new * quantity
        name = f"A million {rate['token_kind']} of {rate['model']}, {rate['supplier']}"
        rows.append(EffectRow(name, None, old * _MILLION, new * _MILLION, currency))
    rows.sort(key=lambda row: (-abs(row.difference), row.subject))
    total = EffectRow(f"Cost of the last {_DAYS} days' tokens", None, before, after, currency)
    basis = (
        "Each price beside the same supplier's one in force, 0 where there is none; and all of the"
        " last 30 days' tokens of these models at either"
    )
    return Effect(basis, (total, *rows), 0, 0)
