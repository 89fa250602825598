"""What a billing period puts on an invoice: the fee, the overage, the statement of credits used.

Credits and prices enter, lines with settled amounts leave. Which usage stands behind a line and
where it is stored is not decided here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.money import Money, settle
from billing_project.kernel.period import Period
from billing_project.kernel.quantity import plain, round_unrounded
from invoicing.proration import Part

LARGEST_MINOR = 10**15  # A claim beyond 10 trillion dollars is a fault upstream, not an invoice.
LARGEST_UNIT_PRICE = 10**24
BEYOND = "Credits used beyond those granted"  # What a line of overage says.


class Kind(StrEnum):
    """What a line claims, or states."""

    RECURRING = "recurring"
    OVERAGE = "overage"
    CREDITS_USED = "credits_used"
    CREDIT_PACK = "credit_pack"
    SEAT = "seat"
    OUTCOME = "outcome"
    ONE_OFF = "one_off"
    COMMIT_SHORTFALL = "commit_shortfall"
    COMMITMENT = "commitment"


class AmountOutOfBounds(ValueError):
    """An amount is larger than any invoice may claim."""


@dataclass(frozen=True)
class Discounted:
    """What one discount took off a line, and where it comes from."""

    name: str
    amount_minor: int
    item_id: int | None = None
    redemption_id: int | None = None


@dataclass(frozen=True)
class Line:
    """One line as it will stand on the invoice; credits_used lines state and never claim."""

    kind: Kind
    description: str
    quantity: Decimal
    unit: str
    unit_price_unrounded: Decimal  # Major units.
    amount_minor: int
    key: str = ""  # Tells lines of one invoice apart.
    service: Period | None = None  # None: the invoice's own.
    discounts: tuple[Discounted, ...] = ()  # Taken off before the amount.

    @property
    def discount_minor(self) -> int:
        """What all discounts together took off the line."""
        return sum(part.amount_minor for part in self.discounts)


@dataclass(frozen=True)
class UsageShare:
    """Credits that rated usage of one meter and its dimensions cost, drawn or not."""

    key: str
    meter: str  # The meter's name.
    dimensions: tuple[tuple[str, str], ...]  # (("model", "gpt-5.4"),)
    credits: Decimal

    @property
    def description(self) -> str:
        """The meter with its dimensions' values: "Output tokens, gpt-5.4"."""
        return ", ".join([self.meter, *(value for _, value in self.dimensions)])


@dataclass(frozen=True)
class OveragePrice:
    """Price of one credit beyond the grants, in major units, with the credits' unit."""

    unit: str
    unit_price: Decimal
    currency: str


def fee_line(plan: str, fee: Money, included_credits: Decimal, part: Part | None = None) -> Line:
    """Claim a plan's fee for one period, or its share for a part of one, in advance."""
    said = [f"{plan}, {plain(included_credits)} credits included" if included_credits else plan]
    if part is not None and not part.is_whole:
        said.append(part.arithmetic(fee))
        fee = part.amount(fee)
    return Line(
        Kind.RECURRING, "; ".join(said), Decimal(1), "period", fee.decimal, fee.amount_minor
    )


def pack_line(unit: str, amount: Decimal, price: Money) -> Line:
    """Claim the price of credits sold ahead of use.

    Returns:
        Its unit price is shown, rounded to 12 decimals; the amount is the price itself.

    Raises:
        AmountOutOfBounds: the price, or that of one credit, is larger than a line may claim.
    """
    return _of_credits(Kind.CREDIT_PACK, "Credit pack", unit, amount, price)


def commitment_line(unit: str, amount: Decimal, price: Money, ends: str) -> Line:
    """Claim a commitment ahead of its term: credits that end with it; see `pack_line`."""
    words = f"Commitment of {plain(amount)} credits, paid ahead, until {ends}"
    return _of_credits(Kind.COMMITMENT, words, unit, amount, price)


def outcome_line(code: str, name: str, price: Money, count: int) -> Line:
    """Claim accepted outcomes of one item at their price.

    Raises:
        AmountOutOfBounds: that is larger than an invoice may claim.
    """
    minor = _within(price.amount_minor * count)
    key = f"outcome:{code}"
    return Line(Kind.OUTCOME, name, Decimal(count), "outcome", price.decimal, minor, key)


def overage_line(
    price: OveragePrice, unbilled: Decimal, credits_before: Decimal, invoiced_before_minor: int
) -> Line:
    """Claim overage credits at their price, settled over the whole period at once.

    The invoices of one period always sum to settle(all credits so far x price): what rounding
    took from an earlier one comes with a later one.

    Args:
        price: The governing price of one credit.
        unbilled: Overage credits not invoiced so far, > 0, exact.
        credits_before: Overage of the period on earlier invoices, less what notes evened out, >= 0.
        invoiced_before_minor: What those invoices claim for it.

    Returns:
        amount = settle((before + unbilled) x price) - invoiced before, >= 0.

    Raises:
        AmountOutOfBounds: that is larger than an invoice may claim.

    Source: accounting.md 5.1, rounding by cumulative difference.
    """
    so_far = settle((credits_before + unbilled) * price.unit_price, price.currency)
    return Line(
        Kind.OVERAGE,
        BEYOND,
        unbilled,
        price.unit,
        price.unit_price,
        _within(so_far - invoiced_before_minor),
    )


def added_later(line: Line) -> Line:
    """Say on an overage line that its period was invoiced before; its service dates stay."""
    return replace(line, description=f"{line.description}, added after the period was invoiced")


def claimed_again(line: Line, credit_count: Decimal) -> Line:
    """Say on an overage line how many of its credits an earlier invoice had and a note took off."""
    if not credit_count:
        return line
    return replace(
        line, description=f"{line.description}; {plain(credit_count)} of them credited before"
    )


def credits_used_lines(unit: str, shares: Iterable[UsageShare]) -> list[Line]:
    """State the credits used by meter and dimensions, most first; they claim no money."""
    ordered = sorted(shares, key=lambda share: (-share.credits, share.description, share.key))
    return [
        Line(Kind.CREDITS_USED, share.description, share.credits, unit, Decimal(0), 0, share.key)
        for share in ordered
    ]


def total_minor(lines: Sequence[Line]) -> int:
    """Sum the amounts of lines in one currency."""
    return sum(line.amount_minor for line in lines)


def _of_credits(kind: Kind, words: str, unit: str, amount: Decimal, price: Money) -> Line:
    unit_price = round_unrounded(price.decimal / amount)
    if unit_price >= LARGEST_UNIT_PRICE:
        raise AmountOutOfBounds(f"{plain(unit_price)} a credit is more than a line can show")
    return Line(kind, words, amount, unit, unit_price, _within(price.amount_minor))


def _within(amount_minor: int) -> int:
    if amount_minor > LARGEST_MINOR:
        raise AmountOutOfBounds(f"{amount_minor} minor units are more than an invoice may claim")
    return amount_minor
