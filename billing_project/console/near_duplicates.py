"""Near duplicates with what they cost: metering finds them, credits price what they add."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from credits.selectors.worth import Reading, worth_of
from metering.models import Customer
from metering.selectors.near_duplicates import Cluster, near_duplicates


@dataclass(frozen=True)
class CostedCluster:
    """A cluster, and what its reports after the first are charged."""

    cluster: Cluster
    cost: dict[str, Decimal]  # By pricing unit; empty where nothing has a rate.


@dataclass(frozen=True)
class NearDuplicateReport:
    """Clusters, the largest first, and what all that are shown add."""

    clusters: tuple[CostedCluster, ...]
    extra: int
    quantities: dict[str, Decimal]  # By meter.
    cost: dict[str, Decimal]


def near_duplicate_report(
    customer: Customer | None, start: datetime, end: datetime
) -> NearDuplicateReport:
    """Find the near duplicates of a span and price them by the rates that govern.

    Raises:
        Invalid: the span is empty or too long.
    """
    clusters = near_duplicates(customer, start, end)
    quantities: dict[str, Decimal] = {}
    for cluster in clusters:
        for added in cluster.added:
            quantities[added.meter] = quantities.get(added.meter, Decimal(0)) + added.quantity
    costed = tuple(map(CostedCluster, clusters, _costs(clusters)))
    return NearDuplicateReport(
        costed,
        sum(cluster.extra for cluster in clusters),
        dict(sorted(quantities.items())),
        _sum(one.cost for one in costed),
    )


def _costs(clusters: Iterable[Cluster]) -> list[dict[str, Decimal]]:
    return worth_of([_readings(cluster) for cluster in clusters])


def _readings(cluster: Cluster) -> list[Reading]:
    return [
        Reading(
            cluster.customer_id,
            one.meter_id,
            cluster.workspace_id,
            one.dimensions,
            cluster.first_at,
            one.quantity,
        )
        for one in cluster.added
    ]


def _sum(costs: Iterable[dict[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for cost in costs:
        for unit, amount in cost.items():
            total[unit] = total.get(unit, Decimal(0)) + amount
    return dict(sorted(total.items()))
