"""Propose sheets of rates of exchange."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose
from billing_project.kernel.content import Content, refuse_missing, text_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import is_currency
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from revrec.models import ExchangeRate, ExchangeSheet
from revrec.selectors.exchange import EXCHANGE, content_of_sheet

_DECIMALS = Decimal("0.000000000001")
_MOST = 10_000  # Rates of one sheet.
_EXAMPLE = {
    "source": "ECB reference rates, January 2026", "end_on": "2026-02-01",
    "rates": [
        {"currency": "EUR", "functional_currency": "USD", "from_on": "2026-01-01", "value": "1.10"},
        {"currency": "EUR", "functional_currency": "USD", "from_on": "2026-01-02", "value": "1.12"},
    ],
}  # fmt: skip


@dataclass(frozen=True)
class RateInput:
    """What one unit of a currency is worth in another from a day on."""

    currency: str
    functional_currency: str
    from_on: date
    value: Decimal


@transaction.atomic
def propose_rates(
    *, source: str, end_on: date, rates: Sequence[RateInput], proposal: Proposal, by: User,
    at: datetime,
) -> ExchangeSheet:  # fmt: skip
    """Write a sheet of rates; entries of its days follow it once finance approved it.

    Args:
        source: Where the rates were read, for an auditor.
        end_on: The last rate of each pair holds until this day, exclusive.

    Raises:
        Invalid: no source, no rates or too many, an unknown currency, a rate that is none, a day
            twice or outside the sheet; with its field.
    """
    _refuse_unreadable(source, end_on, rates)
    wait_for(EXCHANGE)
    sheet = ExchangeSheet(
        number=next_number(ExchangeSheet.objects.all()), source=source.strip(), end_on=end_on
    )
    rows = [
        ExchangeRate(
            sheet=sheet, currency=rate.currency, functional_currency=rate.functional_currency,
            from_on=rate.from_on, value=rate.value,
        )
        for rate in sorted(rates, key=lambda r: (r.currency, r.functional_currency, r.from_on))
    ]  # fmt: skip
    sheet.policy_change = propose(
        kind=EXCHANGE, subject=f"{EXCHANGE}:{sheet.number}", content=content_of_sheet(sheet, rows),
        proposal=proposal, by=by, at=at,
    )  # fmt: skip
    sheet.save(force_insert=True)
    ExchangeRate.objects.bulk_create(rows)
    return sheet


def _refuse_unreadable(source: str, end_on: date, rates: Sequence[RateInput]) -> None:
    if not 0 < len(source.strip()) <= 200:
        raise Invalid("a sheet says in up to 200 characters where it is from", field="source")
    if not 0 < len(rates) <= _MOST:
        raise Invalid(f"a sheet has 1 to {_MOST} rates", field="rates")
    known = set()
    for rate in rates:
        pair = (rate.currency, rate.functional_currency)
        if not all(map(is_currency, pair)) or pair[0] == pair[1]:
            raise Invalid(f"{'/'.join(pair)} is no pair of currencies", field="rates")
        is_exact = rate.value.is_finite() and rate.value == rate.value.quantize(_DECIMALS)
        if not is_exact or not 0 < rate.value < 10**11:
            raise Invalid(f"{rate.value} is no rate with up to 12 decimals", field="rates")
        if rate.from_on >= end_on:
            raise Invalid(f"the sheet ends before {rate.from_on}", field="end_on")
        if (pair, rate.from_on) in known:
            raise Invalid(f"{'/'.join(pair)} has two rates on {rate.from_on}", field="rates")
        known.add((pair, rate.from_on))


@materialise(EXCHANGE, _EXAMPLE)
def _from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(content, "source", "end_on", "rates")
    propose_rates(
        source=text_in(content, "source"), end_on=_day_in(content, "end_on"),
        rates=_rates_in(content), proposal=proposal, by=by, at=at,
    )  # fmt: skip


def _rates_in(content: Content) -> list[RateInput]:
    rows = content["rates"]
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise Invalid("rates are a list of rates", field="rates")
    found = []
    for row in rows:
        refuse_missing(row, "currency", "functional_currency", "from_on", "value")
        try:
            value = Decimal(text_in(row, "value"))
        except ArithmeticError as error:
            raise Invalid(f"{row['value']} is no rate", field="rates") from error
        found.append(
            RateInput(
                text_in(row, "currency"), text_in(row, "functional_currency"),
                _day_in(row, "from_on"), value,
            )
        )  # fmt: skip
    return found


def _day_in(content: Content, name: str) -> date:
    try:
        return date.fromisoformat(text_in(content, name))
    except ValueError as error:
        raise Invalid(f"{content[name]} is no day: write 2026-01-31", field=name) from error
