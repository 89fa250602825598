"""Margins of a month: recognised revenue less the supplier's cost, by what earned and caused it.

The revenue of every table sums to the trial balance's. Of a customer who is billed in another
currency than suppliers' prices are in, costs are exchanged by the approved rate of each day; where
there is none, they stand in a row of their own, and no margin is said of either row.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from billing_project.kernel.quantity import plain
from credits.selectors.supplier_costs import DayCost, cost_currency
from credits.supplier_prices import TokenKind
from metering.models import Customer, Workspace
from revrec.margins import (
    NO_RATE,
    Exchange,
    is_below_floor,
    percent_text,
    rates_text,
    settled,
    share_text,
    shared,
)
from revrec.models import AccountingPeriod
from revrec.reporting import Drill, Figure, Row, Table
from revrec.selectors.funding import costs_by_funding
from revrec.selectors.margin_facts import (
    NOBODY,
    DayRevenue,
    MarginFacts,
    OwnCost,
    margin_facts,
    margin_facts_of,
    plans_at,
)
from revrec.selectors.tables.ledger import REVENUE_CODES, within
from revrec.selectors.zone import span_of

FIGURES = ("recognised", "supplier", "margin")
_MIX = ("margin_percent", "cached_share", "output_share", "rate")
_NO_USAGE = "(no usage)"
_LATE = (
    "Late usage costs the month of its use, while what it earns is posted to the open one: a closed"
    " month's margin may move by that cost."
)
_ZERO = Decimal(0)
Label = tuple[str, ...]


@dataclass
class _Sum:
    """What comes together under one label and currency."""

    revenue_minor: int = 0
    cost: Decimal = _ZERO
    rates: set[Exchange] = field(default_factory=set)
    is_whole: bool = True  # No cost of it lacks its rate of exchange.
    tokens: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


def by_customer(period: AccountingPeriod) -> Table:
    """Sum by customer, with the plan that they had when the month ended."""
    facts = margin_facts(period)
    names = _names(facts)
    plans = plans_at([pk for pk in names if pk is not None], period.end_on)
    sums = _summed(
        facts,
        of_revenue=lambda one: [((one.customer_id,), one.amount_minor)],
        of_cost=lambda one: (one.customer_id,),
    )
    rows = [
        _row(
            {"customer": names[key[0]], "plan": plans.get(key[0] or 0, "-")},
            one, cost_minor, currency, names=_MIX,
            drill=Drill({"customer_id": key[0], "currency": currency,
                         "account_id__in": REVENUE_CODES, **within(period)}, -1),
            customer_id=key[0],
        )
        for key, currency, one, cost_minor in sums
    ]  # fmt: skip
    return _table(("customer", "plan", *_MIX), rows, facts)


def by_month_of(customer: Customer, start_on: date, end_on: date) -> Table:
    """Sum one customer by month of the books.

    The revenue is that of `by_customer`. The cost is rounded over these months instead of over all
    customers: the same but for one minor unit.

    Args:
        start_on: First day of a month; as `end_on`, exclusive.
    """
    return _by_text(
        margin_facts_of(customer.pk, start_on, end_on),
        "month",
        lambda one: [((f"{one.day:%Y-%m}",), one.amount_minor)],
        lambda one: (f"{one.day:%Y-%m}",),
    )


def below_floor(period: AccountingPeriod) -> Table:
    """List customers of whose revenue less than 20 % is left, the worst first."""
    table = by_customer(period)
    rows = [
        row
        for row in table.rows
        if not row.figures["margin"].instead
        and is_below_floor(
            row.figures["recognised"].amount_minor, row.figures["supplier"].amount_minor
        )
    ]
    rows.sort(key=lambda row: (row.figures["margin"].amount_minor, row.key))
    return Table(table.label_names, table.figure_names, rows, table.notes)


def by_plan(period: AccountingPeriod) -> Table:
    """Sum by the plan that each customer had when the month ended."""
    facts = margin_facts(period)
    ids = [pk for pk in _names(facts) if pk is not None]
    plans: dict[int | None, str] = dict(plans_at(ids, period.end_on).items())
    return _by_text(
        facts,
        "plan",
        lambda one: [((plans.get(one.customer_id, "-"),), one.amount_minor)],
        lambda one: (plans.get(one.customer_id, "-"),),
    )


def by_day(period: AccountingPeriod) -> Table:
    """Sum by day of the books."""
    return _by_text(
        margin_facts(period),
        "day",
        lambda one: [((f"{one.day}",), one.amount_minor)],
        lambda one: (f"{one.day}",),
    )


def by_model(period: AccountingPeriod) -> Table:
    """Sum by model: what postings name one for is its; the rest is shared.

    Fees, breakage and notes of a customer are shared by the credits that its models were charged
    for the usage of that month.
    """
    facts = margin_facts(period)
    charges = _charges(facts, lambda place, model: model or "-")
    return _by_text(
        facts,
        "model",
        lambda one: [((one.model,), one.amount_minor)] if one.model else _parts(one, charges),
        lambda one: (one.model or "-",),
        is_shared=True,
    )


def by_workspace(period: AccountingPeriod) -> Table:
    """Sum by customer and workspace, shared as by model."""
    facts = margin_facts(period)
    names = _names(facts)
    places = dict(Workspace.objects.values_list("pk", "external_id"))

    def place_of(place: int | None) -> str:
        return places.get(place, "-") if place else "-"

    charges = _charges(facts, lambda place, model: place_of(place))
    return _by_text(
        facts,
        ("customer", "workspace"),
        lambda one: [
            ((names[one.customer_id], *label), minor) for label, minor in _parts(one, charges)
        ],
        lambda one: (names[one.customer_id], place_of(one.workspace_id)),
        is_shared=True,
    )


def by_funding(period: AccountingPeriod) -> Table:
    """Sum the supplier's cost by what paid for the usage: what we gave away, and what is unpaid."""
    currency = cost_currency()
    span = span_of(period)
    found = costs_by_funding(span, currency)
    costs = settled({(one.source, one.unit): one.cost for one in found}, currency)
    rows = [
        Row(
            {
                "paid_by": one.source,
                "credits": plain(one.credits.quantize(Decimal("0.01"))),
                "unit": one.unit or "-",
            },
            currency,
            {"supplier": Figure(costs[one.source, one.unit])},
        )
        for one in found
    ]
    return Table(("paid_by", "credits", "unit"), ("supplier",), rows)


def _by_text(
    facts: MarginFacts,
    names: str | tuple[str, ...],
    of_revenue: Callable[[DayRevenue], Iterable[tuple[Label, int]]],
    of_cost: Callable[[DayCost], Label],
    *,
    is_shared: bool = False,
) -> Table:
    """Sum under labels of text, in their order."""
    labels = (names,) if isinstance(names, str) else names
    note = (
        "Revenue that the books do not name for one of them is shared by the credits that the"
        " month's usage was charged.",
    )
    rows = [
        _row(dict(zip(labels, map(str, key), strict=True)), one, cost_minor, currency, names=_MIX)
        for key, currency, one, cost_minor in _summed(facts, of_revenue, of_cost)
    ]
    return _table((*labels, *_MIX), rows, facts, note if is_shared else ())


def _summed(
    facts: MarginFacts,
    of_revenue: Callable[[DayRevenue], Iterable[tuple[tuple, int]]],  # type: ignore[type-arg]
    of_cost: Callable[[DayCost], tuple],  # type: ignore[type-arg]
) -> list[tuple[tuple, str, _Sum, int]]:  # type: ignore[type-arg]
    """Bring revenue and costs together; costs are rounded over all rows at once."""
    sums: dict[tuple, dict[str, _Sum]] = defaultdict(lambda: defaultdict(_Sum))  # type: ignore[type-arg]
    for revenue in facts.revenue:
        for key, minor in of_revenue(revenue):
            sums[key][revenue.currency].revenue_minor += minor
    for cost in facts.costs:
        _add(sums[of_cost(cost.of)], cost)
    exact: dict[str, dict[tuple, Decimal]] = defaultdict(dict)  # type: ignore[type-arg]
    for key, by_currency in sums.items():
        for currency, one in by_currency.items():
            exact[currency][key] = one.cost
    rounded = {currency: settled(costs, currency) for currency, costs in exact.items()}
    found = [
        (key, currency, one, rounded[currency][key])
        for key, by_currency in sums.items()
        for currency, one in by_currency.items()
        if one.revenue_minor or one.cost or any(one.tokens.values())
    ]
    return sorted(found, key=lambda one: (one[1], tuple(map(str, one[0]))))


def _add(by_currency: dict[str, _Sum], cost: OwnCost) -> None:
    """Add a cost to the sum of its currency; where its rate lacks, two sums are not whole."""
    one = by_currency[cost.currency]
    one.cost += cost.cost
    one.tokens[cost.of.kind] += cost.of.quantity
    if cost.rate is not None:
        one.rates.add(cost.rate)
    if cost.lacking and cost.cost:
        one.is_whole = by_currency[cost.lacking].is_whole = False


def _row(
    labels: Mapping[str, str], one: _Sum, cost_minor: int, currency: str, *,
    names: Sequence[str], drill: Drill | None = None, customer_id: int | None = None,
) -> Row:  # fmt: skip
    tokens = one.tokens
    inputs = tokens[TokenKind.INPUT] + tokens[TokenKind.CACHED_INPUT]
    mix = (
        percent_text(one.revenue_minor, cost_minor) if one.is_whole else "-",
        share_text(tokens[TokenKind.CACHED_INPUT], inputs),
        share_text(tokens[TokenKind.OUTPUT], sum(tokens.values(), _ZERO)),
        rates_text(one.rates, is_whole=one.is_whole),
    )
    figures = {
        "recognised": Figure(one.revenue_minor, drill),
        "supplier": Figure(cost_minor),
        "margin": Figure(one.revenue_minor - cost_minor, instead="" if one.is_whole else NO_RATE),
    }
    return Row({**labels, **dict(zip(names, mix, strict=True))}, currency, figures, customer_id)


def _table(
    labels: Sequence[str], rows: Sequence[Row], facts: MarginFacts, notes: tuple[str, ...] = ()
) -> Table:
    lacking = sorted(
        {
            f"{one.of.model or '-'} {one.of.kind}".strip()
            for one in facts.costs
            if not one.of.is_priced
        }
    )
    if lacking:
        notes = (
            *notes,
            f"Without a supplier's price, and so free here: {', '.join(lacking[:20])}.",
        )
    return Table(labels, FIGURES, rows, (_LATE, *notes, *_exchange_notes(facts)))


def _exchange_notes(facts: MarginFacts) -> Iterable[str]:
    own = facts.cost_currency
    if any(one.rate for one in facts.costs):
        yield (
            f"Suppliers' prices are in {own}; costs of customers who are billed otherwise are"
            " exchanged by the approved rate of each day of use."
        )
    days = sorted({(one.lacking, one.of.day) for one in facts.costs if one.lacking and one.cost})
    for other in sorted({other for other, _ in days}):
        lacking = [f"{day}" for code, day in days if code == other]
        yield (
            f"No rate of exchange of {own} and {other} is approved for {', '.join(lacking[:10])}"
            f"{' and others' if len(lacking) > 10 else ''}: these costs stay in {own}, and no"
            " margin is said of rows that they belong to."
        )


def _charges(
    facts: MarginFacts, name: Callable[[int | None, str], str]
) -> dict[int, dict[Label, Decimal]]:
    found: dict[int, dict[Label, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for (customer_id, place, model), charge in facts.charges.items():
        found[customer_id][(name(place, model),)] += charge
    return found


def _parts(
    one: DayRevenue, charges: Mapping[int, Mapping[Label, Decimal]]
) -> Iterable[tuple[Label, int]]:
    own = charges.get(one.customer_id or 0, {})
    return shared(one.amount_minor, own, (_NO_USAGE,)).items()


def _names(facts: MarginFacts) -> dict[int | None, str]:
    ids = {one.customer_id for one in facts.revenue} | {one.of.customer_id for one in facts.costs}
    customers = Customer.objects.filter(pk__in=[pk for pk in ids if pk is not None])
    return {None: NOBODY, **dict(customers.values_list("pk", "external_id"))}
