"""Alive is not ready, and neither needs a key."""

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from billing_project.api import health


def _down(*_: object, **__: object) -> Any:
    raise OperationalError("connection refused at 10.0.0.7")


def test_a_living_process_answers_without_the_database() -> None:
    assert Client().get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db
def test_ready_means_that_every_migration_is_applied() -> None:
    health._check_migrations.cache_clear()

    response = Client().get("/readyz")

    assert response.status_code == 200
    assert response.json() == {
        "status": "ready", "aggregation_lag_seconds": "0", "is_lagging": False, "books": "open",
    }  # fmt: skip


@pytest.mark.django_db
def test_a_migration_that_is_missing_keeps_traffic_away() -> None:
    health._check_migrations.cache_clear()
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE id ="
            " (SELECT id FROM django_migrations WHERE app = 'kernel' ORDER BY name DESC LIMIT 1)"
        )

    response = Client().get("/readyz")

    assert response.status_code == 503
    assert response.json()["code"] == "migrations_missing"
    assert response["Retry-After"]


@pytest.mark.django_db
def test_a_database_that_is_down_keeps_traffic_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "cursor", _down)

    response = Client().get("/readyz")

    assert response.status_code == 503
    assert response.json()["code"] == "database_down"
    assert b"10.0.0.7" not in response.content


@pytest.mark.django_db
def test_a_database_that_is_down_is_503_on_every_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "cursor", _down)

    response = Client().get("/v1/trace", headers={"Authorization": "Bearer abk_12345678_x"})

    assert response.status_code == 503
    assert response["Content-Type"] == "application/problem+json"
    assert b"10.0.0.7" not in response.content
