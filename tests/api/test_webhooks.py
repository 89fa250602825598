"""Endpoints of webhooks over HTTP, and that everything said is said as OpenAPI describes it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from billing_project.api.webhook_schema import DATA
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import (
    IdempotencyRecord,
    User,
    WebhookDelivery,
    WebhookEndpoint,
)
from billing_project.kernel.webhooks.announcing import TEST, announce, webhook_kinds

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
URL = "https://hooks.example.com/billing"


@pytest.fixture
def caller(client: Client, engineer: User) -> Client:
    _, token = create_api_key(name="ops", scopes=["admin"], at=AT)
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def _call(caller: Client, method: str, path: str, **body: object) -> tuple[int, Any]:
    answer = caller.generic(
        method, f"/v1/{path}", json.dumps(body), content_type="application/json"
    )
    return answer.status_code, answer.json()


def _made(caller: Client, **said: object) -> dict[str, Any]:
    body = {"url": URL, "events": ["invoice.paid"], "owner": "eli.engineer", **said}
    status, answer = _call(caller, "POST", "webhook_endpoints", **body)
    assert status == 201, answer
    made: dict[str, Any] = answer
    return made


def test_an_endpoint_is_made_and_its_secret_shown_once(caller: Client) -> None:
    made = _made(caller)

    assert made["secret"].startswith("whsec_")
    assert (made["state"], made["owner"]) == ("enabled", "eli.engineer")
    status, shown = _call(caller, "GET", f"webhook_endpoints/{made['id']}")
    assert (status, shown) == (200, {k: v for k, v in made.items() if k != "secret"})
    assert not IdempotencyRecord.objects.exists()
    again = _call(caller, "POST", "webhook_endpoints", url=URL, events=["*"], owner="eli.engineer")
    assert (again[0], again[1]["code"]) == (409, "endpoint_exists")


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"url": "http://hooks.example.com/"}, "url"),
        ({"url": "https://user@hooks.example.com/"}, "url"),
        ({"events": ["nonsense"]}, "events"),
        ({"events": []}, "events"),
        ({"owner": "nobody"}, "owner"),
        ({"strange": 1}, "strange"),
    ],
)
def test_bad_input_is_refused_by_its_field(
    caller: Client, said: dict[str, Any], field: str
) -> None:
    body = {"url": URL, "events": ["*"], "owner": "eli.engineer", **said}

    status, answer = _call(caller, "POST", "webhook_endpoints", **body)

    assert status == 422
    assert answer["errors"][0]["path"].startswith(f"$.{field}")
    assert not WebhookEndpoint.objects.exists()


def test_an_endpoint_is_changed_switched_off_and_on(caller: Client) -> None:
    path = f"webhook_endpoints/{_made(caller)['id']}"

    assert _call(caller, "PATCH", path, events=["*"])[1]["events"] == ["*"]
    assert _call(caller, "PATCH", path, is_enabled=False)[0] == 422
    off = _call(caller, "PATCH", path, is_enabled=False, reason="moving")[1]
    assert (off["state"], off["disabled_reason"], off["url"]) == ("disabled", "moving", URL)
    assert _call(caller, "POST", f"{path}/test")[0] == 409
    assert _call(caller, "PATCH", path, is_enabled=True)[1]["state"] == "enabled"


def test_secrets_rotate_and_what_was_missed_is_sent_again(caller: Client) -> None:
    made = _made(caller, events=["*"])
    path = f"webhook_endpoints/{made['id']}"
    announce(TEST, key="one", data={"endpoint": "one"}, at=AT)

    status, answer = _call(caller, "POST", f"{path}/rotate_secret")
    assert (status, answer["secret"] != made["secret"]) == (201, True)
    [row] = _call(caller, "GET", f"webhook_deliveries?endpoint={made['id']}&state=waits")[1]["data"]
    assert (row["type"], row["state"], row["attempts"]) == (TEST, "waits", 0)
    assert _call(caller, "POST", f"webhook_deliveries/{row['id']}/replay")[0] == 409
    WebhookDelivery.objects.update(next_try_at=None, given_up_at=AT)
    [gone] = _call(caller, "GET", "webhook_deliveries?state=given_up")[1]["data"]
    assert gone["state"] == "given_up"
    assert _call(caller, "POST", f"webhook_deliveries/{row['id']}/replay")[1]["state"] == "waits"
    span = {"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"}
    assert _call(caller, "POST", f"{path}/replay", **span)[1] == {"replayed": 0}
    assert _call(caller, "POST", f"{path}/test")[0] == 201
    assert _call(caller, "POST", "webhook_deliveries/99/replay")[0] == 404
    assert _call(caller, "GET", "webhook_endpoints/99")[0] == 404


def test_every_kind_is_described(client: Client) -> None:
    document = client.get("/v1/openapi.json").json()

    assert {kind.code for kind in webhook_kinds()} == set(DATA) == set(document["webhooks"])
    body = document["webhooks"]["invoice.paid"]["post"]["requestBody"]["content"]
    assert body["application/json"]["schema"]["properties"]["type"]["const"] == "invoice.paid"
