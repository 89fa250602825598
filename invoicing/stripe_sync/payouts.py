"""What Stripe sent to the bank, or took from there, and whether what it was made of adds up."""

from collections import Counter
from collections.abc import Iterator

from billing_project.kernel.money import Money
from invoicing.stripe_sync.comparing import FINANCE, Found
from invoicing.stripe_sync.gateway import Json, moves_of
from invoicing.stripe_sync.policy import from_stripe

ENDED = ("failed", "canceled")


def payout_differences(payouts: list[Json]) -> Iterator[Found]:
    """Yield payouts that did not arrive, and those that are not the sum of their movements.

    Stripe says what each automatic payout was made of, of whatever days, once it knows: of those
    that somebody asked for it does not.

    Raises:
        Unreachable: Stripe does not answer.
    """
    for one in payouts:
        subject, money = f"payout {one['id']}", money_of(one)
        if one["status"] in ENDED:
            yield Found("state", subject, "paid", f"{money} {one['status']}", FINANCE)
        elif one["automatic"] and one["reconciliation_status"] == "completed":
            made_of = sum(move["net"] for move in moves_of(one["id"]))
            if made_of != one["amount"]:
                parts = Money(from_stripe(made_of, money.currency), money.currency)
                yield Found("balance", subject, f"made of {parts}", str(money), FINANCE)


def paid_out(payouts: list[Json]) -> dict[str, int]:
    """Return what arrived at the bank by currency, in minor units; negative: it was taken there."""
    sent: Counter[str] = Counter()
    for one in payouts:
        if one["status"] not in ENDED:
            money = money_of(one)
            sent[money.currency] += money.amount_minor
    return dict(sent)


def money_of(one: Json, name: str = "amount") -> Money:
    """Return an amount of an object of Stripe, in its currency."""
    currency = one["currency"].upper()
    return Money(from_stripe(one[name], currency), currency)
