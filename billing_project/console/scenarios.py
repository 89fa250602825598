"""Scenarios side by side: mixes and customers' last periods, each under one or two plans' terms."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from billing_project.kernel.backoffice.display import money_text, number_text
from billing_project.kernel.evidence import Document
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.money import Money
from credits.mixes import Mix
from metering.models import Customer
from revrec.scenario import Outcome, outcome_of
from revrec.selectors.scenarios import (
    Terms,
    layers_for,
    name_of,
    prices_for,
    terms_of,
    workload_of_customer,
    workload_of_mix,
)

COLUMNS = (
    "Scenario", "Terms", "MTok", "Billed", "Recognised", "Supplier", "Margin", "Margin %",
    "Triggers", "Loses from credits", "Fee to break even", "Credits", "Included used",
    "Ran out on day", "Overage",
)  # fmt: skip
WORDS = {"Scenario", "Terms", "Triggers"}  # Columns that are no figures.


@dataclass(frozen=True)
class Row:
    """One workload under one plan's terms."""

    terms: Terms
    outcome: Outcome

    @property
    def cells(self) -> tuple[str, ...]:
        """Write the figures, one for each of COLUMNS."""
        one, currency = self.outcome, self.terms.worth.currency
        percent = one.margin.percent
        return (
            one.workload.name,
            f"{self.terms.name}: {money_text(one.worth.fee_minor, currency)}",
            number_text(_rounded(Decimal(one.workload.tokens) / 1_000_000, 3)),
            f"{one.bill.total.decimal:,f}",
            f"{one.revenue.decimal:,f}",
            f"{_rounded(one.margin.cost, 2):,f}",
            f"{_rounded(one.margin.amount, 2):,f}",
            "-" if percent is None else f"{_rounded(percent, 1):f}",
            "; ".join(one.triggers) or "-",
            "never" if one.break_even is None else number_text(_rounded(one.break_even, 0)),
            f"{Money(one.even_fee_minor, currency).decimal:,f}",
            number_text(_rounded(one.workload.charge, 2)),
            number_text(_rounded(one.included_used, 2)),
            str(one.spent_on_day or "-"),
            number_text(_rounded(one.overage, 2)),
        )


@dataclass(frozen=True)
class Report:
    """All rows, scenario by scenario, and what they were computed on."""

    rows: tuple[Row, ...]
    rates: str

    @property
    def document(self) -> Document:
        """Write the report as evidence for a proposal."""
        plans = " and ".join(dict.fromkeys(row.terms.name for row in self.rows))
        names = ", ".join(dict.fromkeys(row.outcome.workload.name for row in self.rows))
        missing = sorted({one for row in self.rows for one in row.outcome.workload.uncosted})
        currencies = list(dict.fromkeys(row.terms.worth.currency for row in self.rows))
        money = f"Money in {' and in '.join(currencies)}"
        if len(currencies) > 1:
            money += ", each row's as its terms"
        lacks = f" Without a supplier's price: {', '.join(missing)}." if missing else ""
        return Document(
            title=f"Scenarios {names}"[:200],
            basis=f"{plans}, by {self.rates}; suppliers' prices in force. {money}.{lacks}",
            columns=COLUMNS,
            rows=tuple(row.cells for row in self.rows),
        )


def compare(
    plans: Sequence[PolicyChange],
    rates: PolicyChange | None,
    mixes: Sequence[Mix],
    customer: Customer | None,
    at: datetime,
) -> Report:
    """Run each scenario under each plan's terms.

    Args:
        plans: Changes of kind "plan", at least one.
        rates: A change of kind "rate_card"; None takes those in force of each plan's card.

    Raises:
        Invalid: a draft that says no terms or rates yet.
    """
    rows: list[Row] = []
    for terms in map(terms_of, plans):
        layers, prices = layers_for(terms.card, rates, at), prices_for(terms, at)
        works = [workload_of_mix(mix, terms, layers, prices) for mix in mixes]
        if customer is not None:
            works.append(workload_of_customer(customer, terms, layers, prices, at))
        rows += (Row(terms, outcome_of(work, terms.worth)) for work in works)
    names = list(dict.fromkeys(row.outcome.workload.name for row in rows))
    rows.sort(key=lambda row: names.index(row.outcome.workload.name))
    return Report(tuple(rows), name_of(rates) if rates else "the rates in force")


def _rounded(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
