"""The burn table in money: what a version's rates earn on what is used, beside another version's.

Reads the table of credits, the price of a credit from a plan, and what paid credits cost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing_project.kernel.models import PolicyStatus
from billing_project.kernel.money import exponent
from credits.margins import Margin, average_basis, margin_of, scale_of
from credits.models import RateCard, RateCardVersion
from credits.selectors import governing_rate_card_version
from credits.selectors.burn_table import BurnRow, RateFound, burn_table, paid_grants
from invoicing.models import Plan, PlanVersion
from invoicing.selectors.plans import governing_plan_version

DAYS = 30
_ONE = Decimal(1)


@dataclass(frozen=True)
class CreditValue:
    """What one credit of a card is worth, in major units of a currency.

    Attributes:
        overage: Its price beyond the included ones, by the chosen plan; None without a plan.
        paid: What customers paid for it on average, over all paid grants; None without one.
    """

    currency: str
    overage: Decimal | None
    paid: Decimal | None


@dataclass(frozen=True)
class Cell:
    """One version's rate of a row in money; margins are of the row's scale.

    `margin` is None where a price is missing; `used` is the margin of what was used.
    """

    found: RateFound
    credits: Decimal  # Of the scale.
    revenue: Decimal | None
    margin: Margin | None
    paid_margin: Margin | None
    used: Margin | None


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    row: BurnRow
    scale: Decimal
    supplier: Decimal | None  # Price of the scale.
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Report:
    """The whole table, and what each version earns on the traffic that has both prices."""

    value: CreditValue
    versions: tuple[RateCardVersion, ...]
    lines: tuple[Line, ...]
    totals: tuple[Margin, ...]
    is_cut: bool


def versions_of(card: RateCard) -> list[RateCardVersion]:
    """List the versions that somebody may look at: approved or waiting, the newest first."""
    dead = (PolicyStatus.REJECTED, PolicyStatus.WITHDRAWN)
    versions = card.versions.exclude(policy_change__status__in=dead)
    return list(versions.select_related("policy_change", "rate_card__pricing_unit"))


def first_choice(
    card: RateCard, versions: Sequence[RateCardVersion], at: datetime
) -> tuple[RateCardVersion | None, RateCardVersion | None]:
    """Return the version in force, and the newest one that waits for its approval or its day."""
    governing = governing_rate_card_version(card, at) or (versions[-1] if versions else None)
    later = [
        version
        for version in versions
        if governing and version != governing and version.number > governing.number
    ]
    return governing, later[0] if later else None


def plans_of(card: RateCard, at: datetime) -> list[PlanVersion]:
    """List the plan versions in force that sell by a card, the cheapest credit first."""
    governing = (governing_plan_version(plan, at) for plan in Plan.objects.order_by("code"))
    base = card.base_id or card.pk
    sold = [version for version in governing if version and version.rate_card_id == base]
    return sorted(sold, key=lambda version: version.overage_price_unrounded)


def value_of(card: RateCard, plan: PlanVersion | None) -> CreditValue:
    """Tell what a credit of a card is worth; one of a currency is worth one of it."""
    if currency := card.pricing_unit.currency:
        return CreditValue(currency, _ONE, None)
    currency = plan.currency if plan else "USD"
    grants = paid_grants(card, currency)
    return CreditValue(
        currency,
        plan.overage_price_unrounded if plan else None,
        average_basis((Decimal(p).scaleb(-exponent(currency)), amount) for p, amount in grants),
    )


def report_of(
    card: RateCard,
    versions: Sequence[RateCardVersion],
    plan: PlanVersion | None,
    at: datetime,
    model: str = "",
) -> Report:
    """Price a card's rates and the last 30 days' traffic by one or two versions.

    Args:
        model: Shows the rows of one model only.
    """
    value = value_of(card, plan)
    since = at - timedelta(days=DAYS)
    table = burn_table(card, versions, currency=value.currency, since=since, at=at)
    lines = tuple(_line(row, value) for row in table.rows if not model or row.model == model)
    totals = tuple(_total(line.cells[i] for line in lines) for i in range(len(versions)))
    return Report(value, tuple(versions), lines, totals, table.is_cut)


def _line(row: BurnRow, value: CreditValue) -> Line:
    scale = scale_of(row.meter.unit)
    supplier = None if row.supplier_price is None else row.supplier_price * scale
    return Line(row, scale, supplier, tuple(_cell(row, one, scale, value) for one in row.found))


def _cell(row: BurnRow, found: RateFound | None, scale: Decimal, value: CreditValue) -> Cell | None:
    if found is None:
        return None

    def margin(quantity: Decimal, credit_value: Decimal | None) -> Margin | None:
        if credit_value is None or row.supplier_price is None:
            return None
        return margin_of(quantity, found.credits_a_unit, credit_value, row.supplier_price)

    count = found.credits_a_unit * scale
    return Cell(
        found=found,
        credits=count,
        revenue=None if value.overage is None else count * value.overage,
        margin=margin(scale, value.overage),
        paid_margin=margin(scale, value.paid),
        used=margin(row.quantity, value.overage),
    )


def _total(cells: Iterable[Cell | None]) -> Margin:
    used = (cell.used for cell in cells if cell and cell.used)
    return sum(used, Margin(Decimal(0), Decimal(0)))
