"""Reports that say the same within a second under another identifier: retries, perhaps.

A sender that mints a new key for each retry is billed for each of them; no key can tell. They are
shown with what they add, never merged: two equal requests in a second may both be real.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import OperationalError, connection, transaction

from billing_project.kernel.errors import Invalid
from metering.aggregation import MeterRule, Properties, dimensions_of
from metering.exact import ExactDecoder
from metering.models import Customer
from metering.selectors.meters import rules_by_event_name

SHOWN = 200  # Clusters, the largest first.
NAMED = 20  # Identifiers of one cluster.
MOST_DAYS, MOST_DAYS_OF_ALL = 31, 1
_CANCELLED = "57014"  # PostgreSQL: statement timeout.
_SECONDS = 20

# Each customer by the index on (customer, timestamp); a report begins a cluster where the same was
# not said within the second before it.
_FIND = """
WITH said AS (
    SELECT e.*, CASE WHEN e."timestamp" - lag(e."timestamp") OVER same <= interval '1 second'
                     THEN 0 ELSE 1 END AS is_first
    FROM customer c CROSS JOIN LATERAL (
        SELECT u.id, u.customer_id, u.workspace_id, u.event_name, u.identifier, u."timestamp",
               u.properties
        FROM used_meter_event u
        WHERE u.customer_id = c.id
          AND u."timestamp" >= %(start)s AND u."timestamp" < %(end)s
    ) e
    WHERE c.id = ANY (%(customers)s)
    WINDOW same AS (PARTITION BY e.customer_id, e.workspace_id, e.event_name, e.properties
                    ORDER BY e."timestamp", e.id)
), numbered AS (
    SELECT *, sum(is_first) OVER (PARTITION BY customer_id, workspace_id, event_name, properties
                                  ORDER BY "timestamp", id) AS cluster
    FROM said
)
SELECT customer_id, workspace_id, event_name, properties::text, min("timestamp"),
       max("timestamp"), count(*), min(id),
       (array_agg(identifier ORDER BY "timestamp", id))[1:%(named)s],
       (array_agg(id ORDER BY "timestamp", id))[1:%(named)s]
FROM numbered
GROUP BY customer_id, workspace_id, event_name, properties, cluster
HAVING count(*) > 1
ORDER BY count(*) DESC, min("timestamp"), min(id) LIMIT %(most)s
"""


@dataclass(frozen=True)
class Added:
    """What a cluster's reports after the first add to one meter."""

    meter_id: int
    meter: str
    dimensions: Mapping[str, str | None]
    quantity: Decimal


@dataclass(frozen=True)
class Cluster:
    """Reports of one customer that say the same, each within a second of the one before."""

    customer: str
    customer_id: int
    workspace_id: int | None
    event_name: str
    properties: Properties
    first_at: datetime
    last_at: datetime
    count: int
    identifiers: tuple[str, ...]  # The first of them.
    event_ids: tuple[int, ...]
    added: tuple[Added, ...]

    @property
    def extra(self) -> int:
        """How many reports there are beside the first."""
        return self.count - 1


def near_duplicates(customer: Customer | None, start: datetime, end: datetime) -> list[Cluster]:
    """Return the clusters of reports of use in [start, end), the largest first; at most SHOWN.

    Cancelled events are left out, amended ones say what they say now. Nothing outside the span is
    looked at: a cluster over its edge is shown by what of it lies inside.

    Args:
        customer: None for all of them, then over a day at most; else over 31 days.

    Raises:
        Invalid: the span is empty, too long, or holds too much to be read in time.
    """
    days = MOST_DAYS if customer else MOST_DAYS_OF_ALL
    if not timedelta(0) < end - start <= timedelta(days=days):
        raise Invalid(f"start comes before end, by at most {days} day{'s' * (days > 1)}")
    named = Customer.objects.all() if customer is None else Customer.objects.filter(pk=customer.pk)
    names = dict(named.values_list("pk", "external_id"))
    rows = _rows({"customers": list(names), "start": start, "end": end})
    rules = rules_by_event_name()
    return [_cluster(row, names[row.customer_id], rules.get(row.event_name, [])) for row in rows]


@dataclass(frozen=True)
class _Row:
    customer_id: int
    workspace_id: int | None
    event_name: str
    properties: str
    first_at: datetime
    last_at: datetime
    count: int
    first_id: int
    identifiers: list[str]
    event_ids: list[int]


def _rows(params: dict[str, Any]) -> list[_Row]:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{_SECONDS}s'")
            cursor.execute(_FIND, {**params, "named": NAMED, "most": SHOWN})
            rows = [_Row(*row) for row in cursor.fetchall()]
            cursor.execute("SET LOCAL statement_timeout = DEFAULT")
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != _CANCELLED:
            raise
        raise Invalid("there is too much usage in this span; take a shorter one") from error
    return rows


def _cluster(row: _Row, customer: str, rules: Sequence[MeterRule]) -> Cluster:
    properties = ExactDecoder().decode(row.properties)
    reading = [
        rule
        for rule in rules
        if rule.governs(row.first_at) and rule.first_event_id <= row.first_id
        and rule.admits(properties)
    ]  # fmt: skip
    return Cluster(
        customer=customer,
        customer_id=row.customer_id,
        workspace_id=row.workspace_id,
        event_name=row.event_name,
        properties=properties,
        first_at=row.first_at,
        last_at=row.last_at,
        count=row.count,
        identifiers=tuple(row.identifiers),
        event_ids=tuple(row.event_ids),
        added=tuple(_added(reading, properties, row.count - 1)),
    )


def _added(rules: Sequence[MeterRule], properties: Properties, extra: int) -> Iterator[Added]:
    """Only sums and counts grow with a repeated report; a largest or last value does not."""
    for rule in rules:
        quantity = rule.quantity_of(properties) if rule.is_additive else None
        if quantity:
            dimensions = dimensions_of(rule.dimensions, properties)
            yield Added(rule.id, rule.code, dimensions, quantity * extra)
