"""What a proposed coupon would have taken off a period of whoever may redeem it."""

import json
from dataclasses import replace
from decimal import Decimal

from billing_project.kernel.effects import Effect, effect_of
from billing_project.kernel.models import PolicyChange
from invoicing.items import Item
from invoicing.plan_worth import period_bill
from invoicing.selectors.plan_effects import charges_of, last_periods, usage_of, worth_of


@effect_of("coupon")
def of_coupon(change: PolicyChange) -> Effect:
    """Bill the last period of each running subscription again, with the coupon redeemed."""
    content = json.loads(change.content)
    percent = None if content["percent"] is None else Decimal(content["percent"])
    offer = Item(
        "discount", "coupon", content["code"], content["amount_minor"], percent,
        periods=0, kinds=tuple(content["kinds"]),
    )  # fmt: skip
    periods = {
        period: worth_of(version)
        for period, version in last_periods(change.proposed_at).items()
        if content["currency"] in ("", version.currency)
    }
    usage = usage_of(periods)
    compared = [
        (period, period_bill(worth, usage[period.pk]),
         period_bill(replace(worth, items=(*worth.items, offer)), usage[period.pk]))
        for period, worth in periods.items()
    ]  # fmt: skip
    customers = {period.customer_id for period in periods}
    return Effect(_basis(content["periods"], content["max_redemptions"]), charges_of(compared),
                  len(customers), 0)  # fmt: skip


def _basis(periods: int, most: int | None) -> str:
    """Say what was billed again, for how many periods it holds, and for how many customers."""
    lasts = "every period from then on" if not periods else f"{periods} of their periods"
    takers = "any of them may redeem it" if most is None else f"at most {most:,} may redeem it"
    return (
        "The last complete billing period of each running subscription, as by its plan, without"
        f" and with the coupon; it lowers {lasts}, and {takers}"
    )
