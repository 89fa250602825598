"""Whatever comes, to whatever endpoint: a problem with a code, never a 500, nothing stored."""

import itertools
import json
import zlib
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from billing_project.kernel import clock
from billing_project.kernel.keys import create_api_key, revoke_api_key
from billing_project.kernel.models import SCOPES, User
from tests.api.endpoints import Endpoint, endpoints

pytestmark = pytest.mark.django_db

ALL = endpoints()
WRITES = [endpoint for endpoint in ALL if endpoint.method in {"POST", "PATCH"}]
READS = [endpoint for endpoint in ALL if endpoint.method == "GET"]
# What may be written for a refused request: the answer itself, and the counter of refused events.
_MAY_GROW = {"idempotency_record", "event_rejection"}


def _bomb() -> bytes:
    """100 MB of zeros in 100 KB."""
    gzip = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(gzip.compress(b"0" * 1_000_000) for _ in range(100)) + gzip.flush()


JSON: dict[str, Any] = {"content_type": "application/json"}
GZIP: dict[str, Any] = {"HTTP_CONTENT_ENCODING": "gzip"}
# name: body, how it is sent, the statuses that may answer it (404: what the address names first).
BODIES: dict[str, tuple[bytes, dict[str, Any], set[int]]] = {
    "malformed": (b'{"a": ', JSON, {400, 404}),
    "not utf-8": (b'{"a": "\xff"}', JSON, {400, 404}),
    "NaN": (b'{"amount": NaN}', JSON, {400, 404}),
    "Infinity": (b'{"amount": -Infinity}', JSON, {400, 404}),
    "1e400": (b'{"amount": 1e400}', JSON, {400, 404, 422}),
    "negative": (b'{"amount": -1}', JSON, {404, 422}),
    "60 digits": (b'{"amount": ' + b"9" * 60 + b"}", JSON, {404, 422}),
    "5000 digits": (b'{"amount": ' + b"9" * 5000 + b"}", JSON, {400, 404, 422}),
    "NUL": (b'{"customer": "a\\u0000b", "name": "a\\u0000b"}', JSON, {400, 404, 422}),
    "raw NUL": (b'{"customer": "a\x00b"}', JSON, {400, 404}),
    "surrogate": (b'{"customer": "\\ud800"}', JSON, {400, 404, 422}),
    "deep": (b"[" * 100_000 + b"]" * 100_000, JSON, {400, 404}),
    "deep object": (b'{"a":' * 40 + b"1" + b"}" * 40, JSON, {400, 404, 422}),
    "6 MiB": (b'{"a": "' + b"x" * (6 * 1024 * 1024) + b'"}', JSON, {413}),
    "gzip bomb": (_bomb(), {**JSON, **GZIP}, {413}),
    "no gzip": (b"{}", {**JSON, **GZIP}, {400}),
    "unknown field": (b'{"nobody_reads_this": 1}', JSON, {400, 404, 422}),
    "list": (b"[1, 2]", JSON, {400, 404, 422}),
    "text": (b'"customer"', JSON, {400, 404, 422}),
    "null": (b"null", JSON, {400, 404, 422}),
    "wrong types": (b'{"customer": {"a": []}, "lines": 5, "reason": []}', JSON, {404, 422}),
    "form": (b"customer=acme", {"content_type": "application/x-www-form-urlencoded"}, {404, 415}),
    "text/plain": (b'{"customer": "acme"}', {"content_type": "text/plain"}, {404, 415}),
}
ADDRESSES = [
    "?customer=%00",
    "?limit=-1",
    "?limit=99999999999999999999999",
    "?cursor=%FF%FE",
    "?start=yesterday&end=0000-00-00T00:00:00Z",
    "?start=0001-01-01T00:00:00%2B14:00",
    "?customer=" + "x" * 5000,
    "?customer=nobody&customer=%27%3B--",
    "?event=a%2Fb&journal_entry=99999999999999999999999999",
]


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def admin(db: None) -> str:
    return create_api_key(name="admin", scopes=["admin"], at=clock.now())[1]


def stored_rows() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
            " AND relnamespace = 'public'::regnamespace"
        )
        tables = sorted({name for (name,) in cursor.fetchall()} - _MAY_GROW)
        counts = ", ".join(f'(SELECT count(*) FROM "{table}")' for table in tables)
        cursor.execute(f"SELECT {counts}")
        return dict(zip(tables, cursor.fetchone(), strict=True))


def assert_problem(response: Any, context: str) -> dict[str, Any]:
    assert response.status_code < 500, f"{context}: {response.content[:500]!r}"
    assert response["Content-Type"] == "application/problem+json", (
        f"{context}: {response.content!r}"
    )
    content: dict[str, Any] = json.loads(response.content)
    assert content["status"] == response.status_code, context
    assert content["code"], context
    return content


@pytest.mark.parametrize("endpoint", WRITES, ids=str)
def test_bad_bodies_are_refused_and_store_nothing(
    client: Client, admin: str, endpoint: Endpoint
) -> None:
    before, keys = stored_rows(), itertools.count()

    for name, (body, sent, allowed) in BODIES.items():
        response = client.generic(
            endpoint.method,
            endpoint.url,
            body,
            **sent,
            headers={"Authorization": f"Bearer {admin}", "Idempotency-Key": f"k{next(keys)}"},
        )
        content = assert_problem(response, name)
        if endpoint.route == "v1/events":
            allowed = allowed | {422}  # Read by type as it goes: a wrong field may come first.
        assert response.status_code in allowed, f"{name}: {content}"

    assert stored_rows() == before


@pytest.mark.parametrize("endpoint", READS, ids=str)
def test_bad_addresses_are_never_a_failure(client: Client, admin: str, endpoint: Endpoint) -> None:
    before = stored_rows()

    for address in ADDRESSES:
        url = endpoint.url + address
        response = client.get(url, headers={"Authorization": f"Bearer {admin}"})
        if response.status_code != 200:
            assert_problem(response, url)

    nul = client.get(endpoint.url + "?customer=%00", headers={"Authorization": f"Bearer {admin}"})
    assert nul.status_code == 422
    assert stored_rows() == before


@pytest.mark.parametrize("endpoint", [e for e in ALL if "<" in e.route], ids=str)
@pytest.mark.parametrize(
    "name", ["%00", "..%2F..", "%F0%28%8C%28", "x" * 3000, "9" * 40, "%ED%A0%80"]
)
def test_bad_names_in_the_path_are_never_a_failure(
    client: Client, admin: str, endpoint: Endpoint, name: str
) -> None:
    url = endpoint.url.replace("nothing", name).replace("999999999", name)

    response = client.generic(
        endpoint.method,
        url,
        b"{}",
        **JSON,
        headers={"Authorization": f"Bearer {admin}", "Idempotency-Key": "k"},
    )

    assert_problem(response, url)


@pytest.mark.parametrize("endpoint", ALL, ids=str)
def test_no_key_an_unknown_key_and_a_revoked_one_are_401(
    client: Client, endpoint: Endpoint, engineer: User
) -> None:
    key, revoked = create_api_key(name="old", scopes=["admin"], at=clock.now())
    revoke_api_key(key=key, by=engineer, reason="leaked", at=clock.now())

    for token, code in [
        ("", "not_authenticated"),
        ("Bearer abk_00000000_none", "invalid_api_key"),
        (f"Bearer {revoked}", "invalid_api_key"),
    ]:
        headers = {"Authorization": token} if token else {}
        response = client.generic(endpoint.method, endpoint.url, b"{}", **JSON, headers=headers)
        assert response.status_code == 401
        assert assert_problem(response, token)["code"] == code
        assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("endpoint", ALL, ids=str)
def test_a_scope_too_small_is_403(client: Client, endpoint: Endpoint) -> None:
    needed = endpoint.view.scopes[endpoint.method]
    others = [scope for scope in SCOPES if scope not in {needed, "admin"}]
    _, token = create_api_key(name="other", scopes=others, at=clock.now())

    response = client.generic(
        endpoint.method, endpoint.url, b"{}", **JSON, headers={"Authorization": f"Bearer {token}"}
    )

    assert response.status_code == 403
    assert assert_problem(response, str(endpoint))["code"] == "insufficient_scope"


@pytest.mark.parametrize("route", sorted({endpoint.url for endpoint in ALL}))
def test_a_method_that_a_route_lacks_is_405(client: Client, admin: str, route: str) -> None:
    for method in ("PUT", "OPTIONS", "TRACE", "BREW"):
        response = client.generic(method, route, headers={"Authorization": f"Bearer {admin}"})
        assert response.status_code == 405
        assert assert_problem(response, method)["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("url", "headers", "status", "code"),
    [
        ("/v1/nothing", {}, 404, "not_found"),
        ("/v1/%00", {}, 404, "not_found"),
        ("/v1/customers/", {}, 404, "not_found"),
        ("/v1/openapi.json", {"host": "evil.example"}, 400, "bad_request"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_django_s_own_failures_are_problems_under_v1(
    client: Client,
    settings: Any,
    url: str,
    headers: dict[str, str],
    status: int,
    code: str,
    debug: bool,
) -> None:
    settings.DEBUG = debug

    response = client.get(url, headers=headers)

    assert response.status_code == status
    assert assert_problem(response, url)["code"] == code


def test_pages_outside_v1_stay_pages(client: Client) -> None:
    assert client.get("/nothing")["Content-Type"].startswith("text/html")
