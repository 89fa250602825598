"""What Prometheus reads at /metrics: requests of the web processes, and the state of the chain.

Counters live in each process. With several workers set PROMETHEUS_MULTIPROC_DIR to an
empty writable folder before they start: the workers then add up there, whichever one is asked.
Without it, counters are of the answering worker alone, and `billing_metrics_all_workers` says 0.
Gauges of the chain are read from the database at each scrape, so any worker's are right.
"""

import logging
import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector

from billing_project.kernel import clock
from credits.selectors import unrated_windows
from credits.selectors.unrated import open_unrated_episodes
from metering.selectors.lag import aggregation_state, open_episode
from metering.services.watching import watch_lag

_logger = logging.getLogger(__name__)
_REQUESTS = Counter(
    "billing_http_requests", "Answers by route and status.", ["method", "route", "status"]
)
_SECONDS = Histogram(
    "billing_http_request_seconds", "Time to answer, by route.", ["method", "route"]
)
_MOST_COUNTED = 10_000  # Past this it is an alarm anyway; the exact number is no matter.
_MOST_MODELS = 50  # Series of usage without a rate; more models are more of the same alarm.
_METHODS = {"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"}


def observe(method: str, route: str, status: int, nanoseconds: int) -> None:
    """Count one answer; routes are patterns, so that labels stay few."""
    known = method if method in _METHODS else "other"
    _REQUESTS.labels(known, route, str(status)).inc()
    _SECONDS.labels(known, route).observe(nanoseconds / 10**9)


def exposition() -> bytes:
    """Write all metrics in Prometheus' text format."""
    chain = CollectorRegistry()
    chain.register(ChainCollector())
    return generate_latest(_processes()) + generate_latest(chain)


def _processes() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


class ChainCollector(Collector):
    """How far each step of the chain is behind; only `billing_database_up` where it cannot know."""

    def collect(self) -> Iterator[Metric]:
        """Read the gauges, the cheap ones of one index each."""
        is_shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        yield GaugeMetricFamily(
            "billing_metrics_all_workers", "1 if counters add up all workers.", value=int(is_shared)
        )
        try:
            gauges = list(_chain_gauges())
        except (DatabaseError, InterfaceError):
            gauges = []
        yield GaugeMetricFamily(
            "billing_database_up", "1 if the database answers.", value=int(bool(gauges))
        )
        yield from gauges


def _chain_gauges() -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "billing_outbox_messages", "Notes that wait for the next step.", labels=["topic"]
    )
    for topic, count in _rows("SELECT topic, count(*) FROM outbox_message GROUP BY topic"):
        waiting.add_metric([topic], count)
    yield waiting
    yield _gauge(
        "billing_quarantine_open_events",
        "Quarantined events that nobody decided on.",
        "SELECT count(*) FROM quarantined_event WHERE state = 'open'",
    )
    yield _gauge(
        "billing_aggregation_waiting_batches",
        "Stored event batches that no usage window counts yet.",
        "SELECT count(*) FROM event_batch WHERE aggregated_at IS NULL",
    )
    yield GaugeMetricFamily(
        "billing_unrated_windows",
        f"Usage windows that changed since they were rated, counted up to {_MOST_COUNTED}.",
        value=unrated_windows().order_by()[:_MOST_COUNTED].count(),
    )
    yield _without_rate()
    at = clock.now()
    yield GaugeMetricFamily(
        "billing_aggregation_lag_seconds",
        "Age of the oldest stored event that is not aggregated.",
        value=int(aggregation_state(at).lag_seconds),
    )
    yield GaugeMetricFamily(
        "billing_aggregation_lag_alert",
        "1 while an episode of lag is open; looked at by this scrape, whatever the worker does.",
        value=int(_is_lagging(at)),
    )


def _without_rate() -> Metric:
    """Alert while a series stands: usage of that meter and model has no approved rate."""
    waiting = GaugeMetricFamily(
        "billing_usage_without_rate_windows",
        f"Usage windows that wait for a rate; the newest {_MOST_MODELS} open episodes.",
        labels=["meter", "model"],
    )
    for episode in open_unrated_episodes()[:_MOST_MODELS]:
        waiting.add_metric([episode.meter.code, episode.model], episode.window_count)
    return waiting


def _is_lagging(at: datetime) -> bool:
    """Look at the lag; where that cannot be written down, tell at least what was."""
    try:
        return watch_lag(at=at) is not None
    except (DatabaseError, InterfaceError):
        _logger.warning("lag not watched", exc_info=True)
        return open_episode() is not None


def _gauge(name: str, text: str, query: str) -> Metric:
    ((value,),) = _rows(query)
    return GaugeMetricFamily(name, text, value=value)


def _rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
