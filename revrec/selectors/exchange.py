"""Rates of exchange that govern a day, and in which currency an entity keeps its books."""

from collections.abc import Collection, Mapping
from datetime import date, datetime

from django.db import connection
from django.db.models import Q

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange, PolicyStatus
from billing_project.kernel.quantity import plain
from invoicing.models import MAIN_ENTITY
from revrec.fx import Rate, required
from revrec.margins import Exchange
from revrec.models import ExchangeRate, ExchangeSheet

EXCHANGE = "exchange_rates"
register_kind(
    Kind(
        EXCHANGE, "Rates of exchange", parts="days",
        consequence="Entries of its days are worth what these rates say. What is posted stays so.",
    )
)  # fmt: skip

# The first version of an entity says in which currency its books are kept, for good.
_FIRST_VERSION = """
SELECT v.currency FROM legal_entity_version v
  JOIN policy_change g ON g.id = v.policy_change_id AND g.status = 'approved'
 WHERE v.entity_id = w.entity_id AND g.effective_at <= %(at)s
 ORDER BY g.effective_at, v.number LIMIT 1
"""
_OF_CUSTOMERS = f"""
SELECT w.id, f.currency
  FROM (SELECT c.id, coalesce(e.entity_id, {MAIN_ENTITY}) AS entity_id FROM customer c
          LEFT JOIN customer_entity e ON e.customer_id = c.id WHERE c.id = ANY(%(ids)s)) w
  JOIN LATERAL ({_FIRST_VERSION}) f ON true
"""  # noqa: S608 - our own text
_OF_ENTITIES = f"""
SELECT w.entity_id, f.currency FROM unnest(%(ids)s::bigint[]) AS w (entity_id)
  JOIN LATERAL ({_FIRST_VERSION}) f ON true
"""  # noqa: S608 - our own text


def currencies_of_customers(customer_ids: Collection[int], at: datetime) -> Mapping[int, str]:
    """Return the currency of the books that each customer's entity keeps.

    Customers of an entity without an approved version have none: its books are kept in the currency
    of each sale.
    """
    return _found(_OF_CUSTOMERS, customer_ids, at)


def currencies_of_entities(entity_ids: Collection[int], at: datetime) -> Mapping[int, str]:
    """Return the currency of each entity's books; nothing for one without an approved version."""
    return _found(_OF_ENTITIES, entity_ids, at)


def _found(query: str, ids: Collection[int], at: datetime) -> Mapping[int, str]:
    with connection.cursor() as cursor:
        cursor.execute(query, {"ids": list(ids), "at": at})
        return dict(cursor.fetchall())


def rate_on(currency: str, functional: str, on: date, known_at: datetime) -> Rate | None:
    """Return the approved rate of a day, as it was known at an instant; None where there is none.

    Of several sheets that name a rate for the day the latest governs.
    """
    found = (
        ExchangeRate.objects.filter(
            currency=currency,
            functional_currency=functional,
            from_on__lte=on,
            sheet__end_on__gt=on,
            sheet__policy_change__status=PolicyStatus.APPROVED,
            sheet__policy_change__decided_at__lte=known_at,
        )
        .order_by("-sheet__number", "-from_on")
        .first()
    )
    return Rate(currency, functional, found.value) if found else None


class DayRates:
    """The approved rates between two currencies, of any day of a span; read once."""

    def __init__(self, currency: str, other: str, start_on: date, end_on: date) -> None:
        """Read both ways round, end exclusive."""
        pairs = Q(currency=currency, functional_currency=other)
        pairs |= Q(currency=other, functional_currency=currency)
        rows = ExchangeRate.objects.filter(
            pairs,
            from_on__lt=end_on,
            sheet__end_on__gt=start_on,
            sheet__policy_change__status=PolicyStatus.APPROVED,
        ).select_related("sheet")
        self._currency = currency
        self._rows = list(rows.order_by("-sheet__number", "-from_on"))

    def on(self, day: date) -> Exchange | None:
        """Return the rate of a day as it is known now; the inverse where only that is approved."""
        of_day = [row for row in self._rows if row.from_on <= day < row.sheet.end_on]
        for row in sorted(of_day, key=lambda row: row.currency != self._currency):
            return Exchange(row.value, is_inverse=row.currency != self._currency)
        return None


def required_rate(currency: str, functional: str, on: date, known_at: datetime) -> Rate:
    """Return the approved rate of a day.

    Raises:
        NotFound: there is none (`rate_missing`).
    """
    return required(rate_on(currency, functional, on, known_at), currency, functional, on)


def content_of_sheet(sheet: ExchangeSheet, rates: Collection[ExchangeRate]) -> dict[str, object]:
    """Return the whole version as plain values; `days` say what it is about."""
    return {
        "number": sheet.number,
        "source": sheet.source,
        "end_on": sheet.end_on.isoformat(),
        "rates": [
            {
                "currency": rate.currency,
                "functional_currency": rate.functional_currency,
                "from_on": rate.from_on.isoformat(),
                "value": plain(rate.value),
            }
            for rate in rates
        ],
        "days": sorted({f"{r.currency}/{r.functional_currency} {r.from_on}" for r in rates}),
    }


@content_of(EXCHANGE)
def _content(change: PolicyChange) -> dict[str, object]:
    sheet = ExchangeSheet.objects.get(policy_change=change)
    rates = sheet.rates.order_by("currency", "functional_currency", "from_on")
    return content_of_sheet(sheet, list(rates))
