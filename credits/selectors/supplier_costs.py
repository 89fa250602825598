"""What usage cost us: windows times the supplier's price of their hour, exact, in one currency.

A cost is a sum of quantity x price, so that it is the same by event, window or day; nothing is
rounded and nothing is stored: a price that is learnt later counts from its effective date on.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Count, F

from billing_project.kernel.period import Period
from credits.selectors.supplier_rates import standing_rates
from credits.supplier_costs import PriceFrom, PriceSpan, spans_of
from credits.supplier_prices import token_kind_of
from metering.aggregation import ADDITIVE
from metering.models import Meter

# Windows with the price of their hour; a meter of one kind says it, others by their dimension.
PRICED_WINDOWS = """
WITH kind AS (
    SELECT * FROM unnest(%(meters)s::bigint[], %(kinds)s::text[]) AS k (meter_id, kind)
), price AS (
    SELECT * FROM unnest(%(models)s::text[], %(price_kinds)s::text[], %(prices)s::numeric[],
                         %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        AS p (model, kind, unit_price, start_at, end_at)
), used AS (
    SELECT w.id, w.customer_id, w.workspace_id, w.quantity, w.start_at,
           coalesce(w.dimensions->>'model', '') AS model,
           coalesce(nullif(k.kind, ''), w.dimensions->>'token_kind', '') AS kind
      FROM usage_window w JOIN kind k ON k.meter_id = w.meter_id
     WHERE w.start_at >= %(start)s AND w.start_at < %(end)s
       AND (%(customer)s::bigint IS NULL OR w.customer_id = %(customer)s)
), costed AS (
    SELECT u.*, p.unit_price, coalesce(u.quantity * p.unit_price, 0) AS cost
      FROM used u LEFT JOIN price p ON p.model = u.model AND p.kind = u.kind
       AND u.start_at >= p.start_at AND (p.end_at IS NULL OR u.start_at < p.end_at)
)
"""
_BY_DAY = f"""
{PRICED_WINDOWS}
SELECT customer_id, workspace_id, model, kind, (start_at AT TIME ZONE %(zone)s)::date,
       sum(quantity), sum(cost), bool_and(unit_price IS NOT NULL)
  FROM costed GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608 - own text

_BY_MODEL = f"""
{PRICED_WINDOWS}
SELECT model, sum(cost) FROM costed WHERE unit_price IS NOT NULL GROUP BY model
"""  # noqa: S608 - own text


@dataclass(frozen=True)
class DayCost:
    """What one customer used of a model and kind of token on a day, and what that cost us."""

    customer_id: int
    workspace_id: int | None
    model: str
    kind: str
    day: date
    quantity: Decimal
    cost: Decimal  # Major units, exact.
    is_priced: bool


def cost_currency() -> str:
    """Return the currency in which most suppliers' prices are, of those that count."""
    rows = standing_rates().order_by().values("currency").annotate(count=Count("pk"))
    most = max(rows, key=lambda row: (row["count"], row["currency"]), default=None)
    return most["currency"] if most else "USD"


def price_spans(currency: str, until: datetime, supplier: str = "") -> list[PriceSpan]:
    """Return the spans of all prices in a currency that begin before an instant.

    A price in another currency ends the supplier's price before, as it does in `prices_at`.

    Args:
        supplier: Only of this one's prices.
    """
    rows = standing_rates().filter(effective_at__lt=until)
    if supplier:
        rows = rows.filter(supplier=supplier)
    by_sheet = F("sheet__number").asc(nulls_first=True)  # Not by who was approved when.
    return spans_of(
        PriceFrom(
            row.supplier,
            row.model,
            row.token_kind,
            row.unit_price if row.currency == currency else None,
            row.effective_at,
            row.sheet.policy_change.expires_at if row.sheet else None,
        )
        for row in rows.select_related("sheet__policy_change").order_by(by_sheet, "pk")
    )


def costs_by_day(
    period: Period, currency: str, customer_id: int | None = None, *, zone: str = "UTC"
) -> list[DayCost]:
    """Sum usage and its cost by customer, workspace, model, kind and day.

    Args:
        customer_id: Only of this one.
        zone: In which the days are.
    """
    wanted = {**params_of(period, currency), "customer": customer_id, "zone": zone}
    with connection.cursor() as cursor:
        cursor.execute(_BY_DAY, wanted)
        return [DayCost(*row) for row in cursor.fetchall()]


def costs_by_model(period: Period, currency: str, supplier: str) -> dict[str, Decimal]:
    """Sum what usage costs by the prices of one supplier, model by model; exact.

    A model that several suppliers sell is expected of each of them: who served it is not known.
    """
    with connection.cursor() as cursor:
        cursor.execute(_BY_MODEL, params_of(period, currency, supplier))
        return dict(cursor.fetchall())


def params_of(period: Period, currency: str, supplier: str = "") -> dict[str, Any]:
    """Return what `PRICED_WINDOWS` asks for."""
    spans = price_spans(currency, period.end, supplier)
    kinds = token_meters()
    return {
        "customer": None,
        "start": period.start,
        "end": period.end,
        "meters": list(kinds),
        "kinds": list(kinds.values()),
        "models": [span.model for span in spans],
        "price_kinds": [span.kind for span in spans],
        "prices": [span.unit_price for span in spans],
        "starts": [span.start for span in spans],
        "ends": [span.end for span in spans],
    }


def token_meters() -> dict[int, str]:
    """Return meters that add up in tokens, with their kind; "" where their dimension says it."""
    kinds = {
        meter.pk: token_kind_of(meter.code, {})
        for meter in Meter.objects.filter(aggregation__in=sorted(ADDITIVE), unit="token")
    }
    return {pk: kind.value if kind else "" for pk, kind in kinds.items()}
