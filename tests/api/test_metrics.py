"""What Prometheus reads."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from billing_project.api import metrics
from billing_project.kernel import outbox
from metering.models import LagEpisode
from metering.services.aggregate import aggregate_batches
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db


def scrape() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = Client().get("/metrics").content.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status() -> None:
    labels = (("method", "GET"), ("route", "v1/trace"), ("status", "401"))
    before = scrape().get(("billing_http_requests_total", labels), 0)

    Client().get("/v1/trace?event=acme/1")

    assert scrape()[("billing_http_requests_total", labels)] == before + 1


def test_unknown_paths_share_one_label() -> None:
    for number in range(3):
        Client().get(f"/v1/nothing/{number}")

    routes = {dict(labels).get("route") for _, labels in scrape()}
    assert "unmatched" in routes
    assert not any("nothing" in (route or "") for route in routes)


def test_the_chain_s_backlog_is_read_from_the_database() -> None:
    outbox.publish("usage_changed", [1, 2, 3], datetime(2026, 11, 20, tzinfo=UTC))

    metrics = scrape()

    assert metrics[("billing_outbox_messages", (("topic", "usage_changed"),))] == 3
    assert metrics[("billing_quarantine_open_events", ())] == 0
    assert metrics[("billing_aggregation_lag_seconds", ())] == 0
    assert metrics[("billing_database_up", ())] == 1


def test_a_scrape_opens_an_episode_of_lag_while_the_worker_is_dead(settings: Any) -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    a_meter(at)
    a_customer(at)
    send(at, an_event())
    settings.BILLING_CLOCK = (at + timedelta(seconds=61)).isoformat()

    metrics = scrape()

    assert metrics[("billing_aggregation_lag_seconds", ())] == 61
    assert metrics[("billing_aggregation_lag_alert", ())] == 1
    assert LagEpisode.objects.get().opened_at == at + timedelta(seconds=61)


def test_the_other_gauges_are_told_where_an_episode_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*, at: datetime) -> None:
        raise OperationalError("cannot execute UPDATE in a read-only transaction")

    monkeypatch.setattr(metrics, "watch_lag", refuse)

    values = scrape()

    assert values[("billing_database_up", ())] == 1
    assert values[("billing_aggregation_lag_alert", ())] == 0
    assert ("billing_quarantine_open_events", ()) in values


def test_usage_that_nobody_can_price_is_counted() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    a_meter(at)
    a_customer(at)
    send(at, an_event())
    aggregate_batches(at=at)

    assert scrape()[("billing_unrated_windows", ())] == 1


def test_metrics_answer_while_the_database_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise OperationalError("down")

    monkeypatch.setattr(connection, "cursor", down)

    metrics = scrape()

    assert metrics[("billing_database_up", ())] == 0
    assert ("billing_quarantine_open_events", ()) not in metrics


def test_one_worker_s_counters_say_that_they_are_one_worker_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)

    assert scrape()[("billing_metrics_all_workers", ())] == 0
