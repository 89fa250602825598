"""The base of every endpoint: keys, scopes, bodies, addresses, problems, pages."""

import json

import pytest
from django.test import Client

from billing_project.kernel import clock
from billing_project.kernel.keys import create_api_key, revoke_api_key
from billing_project.kernel.models import OutboxMessage, User
from tests.kernel.rest_example import post, problem_of

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.kernel.rest_example")]


@pytest.fixture
def token(db: None) -> str:
    return create_api_key(name="app", scopes=["usage:read", "credits:write"], at=clock.now())[1]


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def test_a_write_is_answered_and_listed(client: Client, token: str) -> None:
    response = post(client, token, {"topic": "x"})

    assert response.status_code == 201, response.content
    listed = client.get("/v1/notes", headers={"Authorization": f"Bearer {token}"})
    assert listed.json()["data"][0]["topic"] == "x"


def test_a_request_without_a_key_is_told_how_to_send_one(client: Client) -> None:
    response = client.get("/v1/notes")

    assert problem_of(response) == (401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    [
        *("Bearer abk_deadbeef_nothing", "Bearer", "Bearer ", "Basic YTpi", "abk_x"),
        *("Bearer \xff", "Bearer abk_\x01_x"),
    ],
)
def test_an_unknown_key_is_refused(client: Client, header: str) -> None:
    response = client.get("/v1/notes", headers={"Authorization": header})

    assert problem_of(response) == (401, "invalid_api_key")
    assert "WWW-Authenticate" in response


def test_a_revoked_key_is_refused_at_once(client: Client, engineer: User) -> None:
    key, token = create_api_key(name="old", scopes=["usage:read"], at=clock.now())
    revoke_api_key(key=key, by=engineer, reason="leaked", at=clock.now())

    response = client.get("/v1/notes", headers={"Authorization": f"Bearer {token}"})

    assert problem_of(response) == (401, "invalid_api_key")


def test_a_scope_that_does_not_reach_is_named(client: Client) -> None:
    _, reader = create_api_key(name="reader", scopes=["usage:read"], at=clock.now())

    response = post(client, reader, {"topic": "x"})

    assert problem_of(response) == (403, "insufficient_scope")
    assert b"credits:write" in response.content
    assert not OutboxMessage.objects.exists()


def test_admin_includes_every_scope(client: Client) -> None:
    _, admin = create_api_key(name="admin", scopes=["admin"], at=clock.now())

    assert post(client, admin, {"topic": "x"}).status_code == 201


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_a_method_that_the_view_lacks_is_405(client: Client, method: str) -> None:
    _, admin = create_api_key(name="admin", scopes=["admin"], at=clock.now())

    response = client.generic(method, "/v1/notes", headers={"Authorization": f"Bearer {admin}"})

    assert problem_of(response) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_body"),
        (b"\xff\xfe", 400, "malformed_body"),
        (b'{"topic": NaN}', 400, "malformed_body"),
        (b'{"topic": -Infinity}', 400, "malformed_body"),
        (b'{"topic": "a", "topic": "b"}', 400, "malformed_body"),
        (b"[" * 100_000, 400, "too_deep"),
        (b"[" * 33 + b"]" * 33, 400, "too_deep"),
        (b'{"topic": "\\u0000"}', 422, "invalid_value"),
        (b'{"topic": "\\ud800"}', 422, "invalid_value"),
        (b'{"topic": "x", "parts": [{"amount": 1e400}]}', 422, "invalid_value"),
        (b'{"topic": "x", "parts": [{"amount": ' + b"9" * 60 + b"}]}", 422, "invalid_value"),
        (b'{"topic": "x", "parts": [{"amount": ' + b"9" * 5000 + b"}]}", 422, "invalid_value"),
        (b'{"topic": "x", "parts": [{"amount": 1e-999999999}]}', 422, "invalid_value"),
        (b'{"topic": "x", "parts": [{"amount": "-1"}]}', 422, "invalid_value"),
        (b'{"topic": "x", "parts": [{"amount": true}]}', 422, "invalid_value"),
        (b'{"topic": "' + b"x" * 60 + b'"}', 422, "invalid_value"),  # PostgreSQL takes 40.
        (b'"text"', 422, "invalid_value"),
        (b"[]", 422, "invalid_value"),
        (b"", 422, "invalid_value"),
        (b"null", 422, "invalid_value"),
        (b'{"x": "' + b"x" * 6_000_000 + b'"}', 413, "body_too_large"),
    ],
)  # fmt: skip
def test_bad_bodies_are_problems_and_store_nothing(
    client: Client, token: str, body: bytes, status: int, code: str
) -> None:
    response = post(client, token, body)

    assert problem_of(response) == (status, code)
    assert not OutboxMessage.objects.exists()


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data"])
def test_another_content_type_is_refused(client: Client, token: str, content_type: str) -> None:
    response = post(client, token, b'{"topic": "x"}', content_type=content_type)

    assert problem_of(response) == (415, "unsupported_media_type")


def test_each_bad_field_is_named_by_its_path(client: Client, token: str) -> None:
    body = {"parts": [{"amount": "1"}, {"amount": "NaN", "amout": "1"}, {}], "tpic": "x"}

    response = post(client, token, body)

    errors = {(e["path"], e["code"]) for e in json.loads(response.content)["errors"]}
    assert ("$.tpic", "unknown_field") in errors
    assert ("$.topic", "required") in errors
    assert {path for path, _ in errors} >= {"$.parts[1].amount", "$.parts[2].amount"}


def test_an_unknown_field_inside_a_list_is_named(client: Client, token: str) -> None:
    response = post(client, token, {"topic": "x", "parts": [{"amount": "1", "amout": "2"}]})

    assert problem_of(response) == (422, "invalid_value")
    assert json.loads(response.content)["errors"][0]["path"] == "$.parts[0].amout"


@pytest.mark.parametrize("url", ["/v1/notes?customer=%00", "/v1/notes?%00=a", "/v1/notes/a%00b"])
def test_a_nul_in_the_address_is_refused(client: Client, token: str, url: str) -> None:
    response = client.get(url, headers={"Authorization": f"Bearer {token}"})

    assert problem_of(response) == (422, "invalid_value")


def test_accept_and_format_do_not_matter(client: Client, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}

    assert client.get("/v1/notes?format=csv", headers=headers).status_code == 200


def test_a_value_that_a_service_refuses_is_named_by_its_path(client: Client, token: str) -> None:
    response = post(client, token, {"topic": "x", "failure": "invalid"})

    assert problem_of(response) == (422, "invalid_value")
    [error] = json.loads(response.content)["errors"]
    assert (error["path"], error["code"]) == ("$.parts[0].amount", "invalid_value")


def test_a_failure_rolls_the_effect_back(client: Client, token: str) -> None:
    response = post(client, token, {"topic": "x", "failure": "conflict"})

    assert problem_of(response) == (409, "conflict")
    assert not OutboxMessage.objects.exists()


def test_a_bug_tells_nothing_about_the_inside(client: Client, token: str) -> None:
    response = post(client, token, {"topic": "x", "failure": "bug"})

    assert problem_of(response) == (500, "internal_error")
    assert b"secret" not in response.content


def test_a_bug_s_problem_names_the_request_of_its_log_lines(client: Client, token: str) -> None:
    response = post(client, token, {"topic": "x", "failure": "bug"})

    assert response.json()["request_id"] == response["X-Request-ID"]


def test_a_refusal_needs_no_request_id(client: Client, token: str) -> None:
    response = post(client, token, {"topic": "x", "failure": "conflict"})

    assert "request_id" not in response.json()


def test_a_database_that_is_down_asks_to_try_again(client: Client, token: str) -> None:
    response = post(client, token, {"topic": "x", "failure": "database"})

    assert problem_of(response) == (503, "unavailable")
    assert response["Retry-After"] == "1"


def test_an_unexpected_failure_reaches_the_error_signal(token: str) -> None:
    with pytest.raises(ZeroDivisionError):
        post(Client(), token, {"topic": "x", "failure": "bug"})


def test_pages_follow_one_another_without_gap_or_repeat(client: Client, token: str) -> None:
    for number in range(5):
        post(client, token, {"topic": f"t{number}"})
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        url = f"/v1/notes?limit=2&cursor={cursor}"
        answer = client.get(url, headers={"Authorization": f"Bearer {token}"}).json()
        seen += [row["topic"] for row in answer["data"]]
        cursor = answer["next_cursor"]

    assert seen == ["t4", "t3", "t2", "t1", "t0"]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "limit=x", "limit=", "limit=%D9%A1"),
        *("cursor=x", "cursor=-1", "cursor=" + "9" * 30),
    ],
)
def test_a_page_that_cannot_be_is_refused(client: Client, token: str, query: str) -> None:
    response = client.get(f"/v1/notes?{query}", headers={"Authorization": f"Bearer {token}"})

    assert problem_of(response) == (422, "invalid_value")
