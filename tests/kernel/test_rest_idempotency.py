"""One effect for one idempotency key; the stored answer for its repeats."""

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from billing_project.kernel import clock
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import ApiKey, IdempotencyRecord, OutboxMessage
from tests.kernel.rest_example import post, problem_of

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.kernel.rest_example")]


@pytest.fixture
def token(db: None) -> str:
    return create_api_key(name="app", scopes=["usage:read", "credits:write"], at=clock.now())[1]


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def test_a_repeat_gets_the_stored_answer_and_no_second_effect(client: Client, token: str) -> None:
    first = post(client, token, {"topic": "x"}, **{"Idempotency-Key": "k1"})
    second = post(client, token, {"topic": "x"}, **{"Idempotency-Key": "k1"})

    assert (first.status_code, "Idempotency-Replayed" in first) == (201, False)
    assert (second.status_code, second["Idempotency-Replayed"]) == (201, "true")
    assert second.content == first.content
    assert second["Content-Type"] == "application/json"
    assert OutboxMessage.objects.count() == 1


def test_another_body_or_route_under_a_key_is_a_conflict(client: Client, token: str) -> None:
    post(client, token, {"topic": "x"}, **{"Idempotency-Key": "k1"})

    for body, url in [({"topic": "y"}, "/v1/notes"), ({"topic": "x"}, "/v1/money")]:
        response = post(client, token, body, url, **{"Idempotency-Key": "k1"})
        assert problem_of(response) == (409, "idempotency_conflict")
    assert OutboxMessage.objects.count() == 1


def test_two_callers_may_use_the_same_key(client: Client, token: str) -> None:
    _, other = create_api_key(name="other", scopes=["credits:write"], at=clock.now())

    for caller in (token, other):
        response = post(client, caller, {"topic": "x"}, **{"Idempotency-Key": "k1"})
        assert response.status_code == 201
    assert OutboxMessage.objects.count() == 2


def test_a_refusal_of_the_request_itself_is_replayed(client: Client, token: str) -> None:
    for _ in range(2):
        body = {"topic": "x", "failure": "invalid"}
        response = post(client, token, body, **{"Idempotency-Key": "k1"})
        assert problem_of(response) == (422, "invalid_value")
    assert response["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("failure", ["conflict", "bug", "database"])
def test_a_failure_that_may_pass_is_not_kept(client: Client, token: str, failure: str) -> None:
    for _ in range(2):
        body = {"topic": "x", "failure": failure}
        response = post(client, token, body, **{"Idempotency-Key": "k1"})
        assert response.status_code >= 409
        assert "Idempotency-Replayed" not in response
    assert not IdempotencyRecord.objects.exists()
    assert not OutboxMessage.objects.exists()


@pytest.mark.parametrize("key", ["", "x" * 256, "käse", "a\tb"])
def test_a_bad_key_is_refused(client: Client, token: str, key: str) -> None:
    response = post(client, token, {"topic": "x"}, **{"Idempotency-Key": key})

    assert problem_of(response) == (400, "invalid_idempotency_key")


def test_money_needs_a_key(client: Client, token: str) -> None:
    assert problem_of(post(client, token, {"topic": "x"}, "/v1/money")) == (
        400,
        "idempotency_key_required",
    )
    keyed = post(client, token, {"topic": "x"}, "/v1/money", **{"Idempotency-Key": "k" * 255})
    assert keyed.status_code == 201


@pytest.mark.django_db(transaction=True)
def test_a_second_attempt_in_flight_is_told_to_wait(client: Client, token: str) -> None:
    key = f"idempotency:{ApiKey.objects.get().pk}:k1"
    params = {**connection.get_connection_params()}
    params.pop("cursor_factory", None), params.pop("context", None)
    with psycopg.connect(**params) as first:  # The first attempt: its lock, no answer yet.
        first.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
        response = post(client, token, {"topic": "x"}, **{"Idempotency-Key": "k1"})
        assert problem_of(response) == (409, "idempotency_in_flight")
        assert response["Retry-After"] == "1"
        first.rollback()

    assert post(client, token, {"topic": "x"}, **{"Idempotency-Key": "k1"}).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_a_crash_before_commit_leaves_neither_effect_nor_answer(
    client: Client, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(IdempotencyRecord.objects, "create", _crash)
        failed = post(client, token, {"topic": "x"}, **{"Idempotency-Key": "k1"})
    assert failed.status_code == 500
    assert not OutboxMessage.objects.exists()

    assert post(client, token, {"topic": "x"}, **{"Idempotency-Key": "k1"}).status_code == 201
    assert OutboxMessage.objects.count() == 1


def _crash(**_: object) -> None:
    raise RuntimeError("the process dies here")


def test_postgresql_refuses_to_change_a_stored_answer(client: Client, token: str) -> None:
    post(client, token, {"topic": "x"}, **{"Idempotency-Key": "k1"})

    for statement in (
        "UPDATE idempotency_record SET response_status = 500",
        "DELETE FROM idempotency_record",
        "TRUNCATE idempotency_record",
    ):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
