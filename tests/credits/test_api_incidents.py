"""Anomalies, planned activities, incidents, evidence and checkpoints over REST."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from psycopg.errors import SerializationFailure
from pytest_django import DjangoDbBlocker

from billing_project.kernel.keys import create_api_key
from credits.models import Anomaly, Incident, IncidentEvidence
from credits.services.anomalies import detect_anomalies
from credits.services.checkpoints import prepare_checkpoint
from credits.services.evidence import make_evidence
from tests.credits.builders import Shop
from tests.credits.test_incidents import DAY_2, ODD, SEEN, make_world, price_of
from tests.worlds import standing

pytestmark = pytest.mark.django_db
SPAN = {"start_at": ODD.isoformat(), "end_at": SEEN.isoformat()}


def make_odd_world() -> tuple[Shop, str]:
    shop = make_world()
    detect_anomalies(price_of=price_of, at=SEEN)
    return shop, create_api_key(name="ops", scopes=["admin"], at=SEEN)[1]


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[Shop, str]]:
    with standing(make_odd_world, django_db_blocker) as world:
        yield world


@pytest.fixture
def shop(made: tuple[Shop, str], db: None, settings: Any) -> Shop:
    settings.BILLING_CLOCK = SEEN.isoformat()
    return deepcopy(made[0])


@pytest.fixture
def api(made: tuple[Shop, str]) -> "Api":
    return Api(made[1])


class Api:
    """Sends JSON and answers status and body."""

    def __init__(self, token: str) -> None:
        self._client = Client(headers={"Authorization": f"Bearer {token}"})

    def get(self, path: str) -> Any:
        response = self._client.get(f"/v1/{path}")
        assert response.status_code == 200, response.content
        return response.json()

    def post(self, path: str, key: str = "", **body: Any) -> tuple[int, Any]:
        response = self.send(path, key, **body)
        return response.status_code, response.json()

    def send(self, path: str, key: str = "", **body: Any) -> Any:
        return self._client.post(
            f"/v1/{path}", body, content_type="application/json",
            headers={"Idempotency-Key": key} if key else None,
        )  # fmt: skip


def test_an_anomaly_is_read_assigned_and_judged_once(shop: Shop, api: Api) -> None:
    (listed,) = api.get("anomalies?is_open=true&pattern=retry_loop")["data"]
    one = f"anomalies/{listed['id']}"
    assert (listed["dimension"], listed["value"], listed["owner"]) == ("customer", "", "mia.loop")

    status, body = api.post(f"{one}/owner", owner="ann.loop", reason="knows it")
    assert (status, body["owner"]) == (200, "ann.loop")
    assert api.post(f"{one}/owner", owner="nobody", reason="x")[0] == 422
    status, body = api.post(f"{one}/feedback", feedback="real", reason="a loop")
    assert (status, body["feedback"], body["feedback_note"]) == (200, "real", "a loop")
    assert api.post(f"{one}/feedback", feedback="expected", reason="x")[0] == 409
    assert api.post(f"{one}/feedback", feedback="", reason="x")[0] == 422
    assert api.get(one)["feedback"] == "real"
    assert api.get("anomalies?is_open=true")["data"] == []
    assert api.post("anomalies/999/feedback", feedback="real", reason="x")[0] == 404


def test_what_is_planned_is_kept_and_bad_spans_are_refused(shop: Shop, api: Api) -> None:
    status, row = api.post("planned_activities", "k", customer="acme", reason="a test", **SPAN)
    assert (status, row["reason"]) == (201, "a test")
    assert api.post("planned_activities", "k", customer="acme", reason="a test", **SPAN)[1] == row
    assert api.get("planned_activities?customer=acme")["data"] == [row]
    backwards = {"start_at": SPAN["end_at"], "end_at": SPAN["start_at"]}
    assert api.post("planned_activities", customer="acme", reason="x", **backwards)[0] == 422


def test_an_incident_of_an_anomaly_is_opened_acted_on_and_resolved(shop: Shop, api: Api) -> None:
    anomaly = Anomaly.objects.get()
    said: dict[str, Any] = {"title": "A loop", "owner": "mia.loop", "anomaly": anomaly.pk}
    assert api.post("incidents", **said)[1]["code"] == "idempotency_key_required"
    status, row = api.post("incidents", "k1", **said)
    assert (status, row["anomaly"], row["customer"]) == (201, f"{anomaly.pk}", "acme")
    assert api.post("incidents", "k1", **said)[1] == row
    assert api.post("incidents", "k2", **said)[0] == 409  # It has an incident.
    assert api.post("incidents", "k3", **said, **SPAN)[0] == 422
    assert api.post("incidents", "k4", title="x", owner="mia.loop")[0] == 422
    ancient = {"start_at": "0001-01-01T00:00:00Z", "end_at": "0001-01-02T00:00:00Z"}
    assert api.post("incidents", "k5", title="x", owner="mia.loop", **ancient)[0] == 422

    one = f"incidents/{row['id']}"
    status, row = api.post(f"{one}/actions", what="Key revoked", is_contained=True)
    assert (status, row["state"], row["actions"][0]["what"]) == (201, "contained", "Key revoked")
    status, row = api.post(f"{one}/resolution", resolution="Capped")
    assert (status, row["state"]) == (200, "resolved")
    assert api.post(f"{one}/actions", what="late")[0] == 409
    assert [each["id"] for each in api.get("incidents?state=resolved")["data"]] == [row["id"]]


def test_evidence_is_made_once_a_key_and_handed_out(shop: Shop, api: Api) -> None:
    _, row = api.post("incidents", "k", title="By hand", owner="mia.loop", customer="acme", **SPAN)
    status, pack = api.post(f"incidents/{row['id']}/evidence", "e")
    assert status == 201
    assert {one["name"] for one in pack["files"]} >= {"events.csv", "ledger.csv"}
    assert api.post(f"incidents/{row['id']}/evidence", "e")[1] == pack
    assert IncidentEvidence.objects.count() == 1
    assert api.post("incidents/999/evidence")[0] == 404
    assert Incident.objects.count() == 1


@pytest.mark.parametrize(("failures", "status"), [(2, 201), (3, 503)])
def test_evidence_that_others_write_into_is_tried_again(
    shop: Shop, api: Api, monkeypatch: pytest.MonkeyPatch, failures: int, status: int
) -> None:
    _, row = api.post("incidents", "k", title="By hand", owner="mia.loop", customer="acme", **SPAN)
    left = [OperationalError("could not serialize access")] * failures
    monkeypatch.setattr("billing_project.kernel.rest.views._PAUSES", (0, 0))

    def busy(**said: Any) -> IncidentEvidence:
        if left:
            raise left.pop() from SerializationFailure()
        return make_evidence(**said)

    monkeypatch.setattr("credits.api.incidents.make_evidence", busy)

    answer = api.send(f"incidents/{row['id']}/evidence", "e")

    assert answer.status_code == status, answer.content
    assert answer.headers.get("Retry-After") == (None if status == 201 else "1")
    assert api.post(f"incidents/{row['id']}/evidence", "e")[0] == 201
    assert IncidentEvidence.objects.count() == 1


def test_weeks_are_read_and_no_key_signs_one(shop: Shop, api: Api) -> None:
    week = prepare_checkpoint(
        start_on=DAY_2.date(), price_of=price_of, by=shop.maker, at=DAY_2 + timedelta(days=7)
    )
    (listed,) = api.get("checkpoints?is_signed=false")["data"]
    assert (listed["start_on"], listed["signed_by"]) == ("2026-11-02", None)
    assert api.get("checkpoints/2026-11-02")["document"] == week.document
    assert api.post("checkpoints/2026-11-02", note="Looked")[0] == 405
