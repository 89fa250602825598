"""What a proposed estimate would make of the month that closes next: what accounts then hold."""

import json
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.money import Money
from metering.models import Customer
from revrec.models import AccountingPeriod, BreakageEstimate, PeriodStatus, VariableEstimate
from revrec.selectors.estimates import (
    BREAKAGE,
    VARIABLE,
    Target,
    breakage_targets,
    variable_targets,
)


@effect_of(BREAKAGE)
def _of_breakage(change: PolicyChange) -> Effect | None:
    """Work the cohorts out again, with the proposed version before all others."""
    period = _next_to_close()
    if period is None:
        return None
    content = json.loads(change.content)
    until = content["sold_until"]
    proposed = BreakageEstimate(
        code=content["code"], number=content["number"], currency=content["currency"],
        sold_from=date.fromisoformat(content["sold_from"]),
        sold_until=date.fromisoformat(until) if until else None,
        method=content["method"], rate=Decimal(content["rate"]),
        refundable_terms=content.get("refundable_terms", []),
        of_commitments=content.get("of_commitments", False),
    )  # fmt: skip
    return _compared(period, breakage_targets(period), breakage_targets(period, proposed))


@effect_of(VARIABLE)
def _of_variable(change: PolicyChange) -> Effect | None:
    """Put the proposed version in the place of the one it replaces."""
    period = _next_to_close()
    if period is None:
        return None
    content = json.loads(change.content)
    proposed = VariableEstimate(
        code=content["code"], number=content["number"], currency=content["currency"],
        revenue_account_id=content["revenue_account"], refund_minor=content["refund_minor"],
        customer=Customer.objects.filter(external_id=content["customer"]).first(),
    )  # fmt: skip
    return _compared(period, variable_targets(period), variable_targets(period, proposed))


def _next_to_close() -> AccountingPeriod | None:
    """Find the oldest month that is not closed."""
    return AccountingPeriod.objects.exclude(status=PeriodStatus.CLOSED).order_by("start_on").first()


def _compared(
    period: AccountingPeriod, before: Iterable[Target], after: Iterable[Target]
) -> Effect:
    """Put the balances side by side; a balance that is credit reads below zero, as in the books."""
    old = {(target.key, target.account): target for target in before}
    new = {(target.key, target.account): target for target in after}
    rows = []
    for key in sorted(old.keys() | new.keys(), key=lambda key: (key[0], key[1].value)):
        shown = new.get(key) or old[key]
        was, becomes = (
            Money(found.target_minor if found else 0, shown.currency).decimal
            for found in (old.get(key), new.get(key))
        )
        if was or becomes:
            subject = f"Account {shown.account.value}: {shown.says}"
            rows.append(EffectRow(subject, shown.customer_id, was, becomes, shown.currency))
    basis = (
        f"What accounts would hold at the end of {period.start_on:%Y-%m}, the next month to close,"
        " on what is in the books today; debit above zero, credit below. Revenue is the difference"
    )
    customers = {row.customer_id for row in rows if row.customer_id is not None}
    return Effect(basis, tuple(rows), len(customers), 0)
