"""One effect for one idempotency key of one caller; a repeat gets the stored answer.

The answer is stored in the transaction of its effect, so there is no state in between: a crash
leaves neither. Two attempts at once are told apart by an advisory lock, because an INSERT of an
uncommitted key would wait instead of answering.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.http import HttpResponse, HttpResponseBase
from rest_framework.response import Response

from billing_project.kernel.errors import IdempotencyConflict
from billing_project.kernel.models import ApiKey, IdempotencyRecord
from billing_project.kernel.prepared import run_prepared
from billing_project.kernel.rest.errors import PROBLEM_TYPE, BadRequest, InFlight
from billing_project.kernel.rest.rendering import ExactJSONRenderer, to_json

KEY = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)
_ROUTE_LENGTH = 200
# In one statement, so that what is known may be older than the claim: the table's own constraint
# refuses whoever acted in between.
_BEGIN = """
SELECT EXISTS (SELECT FROM api_key WHERE id = %(api_key)s AND revoked_at IS NULL),
       NOT %(is_keyed)s OR pg_try_advisory_xact_lock(hashtextextended(%(name)s, 0)),
       %(is_keyed)s AND EXISTS (SELECT FROM idempotency_record
                                WHERE api_key_id = %(api_key)s AND key = %(key)s)
"""
_KEEP = """
INSERT INTO idempotency_record (
    api_key_id, key, route, request_sha256, response_status, response_body, created_at)
VALUES (%(api_key)s, %(key)s, %(route)s, %(sha256)s, 200, %(body)s, %(at)s)
"""
# Answers that say nothing about this request for good: who asks, what state things are in, how the
# body travelled. A repeat may do better.
_NOT_KEPT = {401, 403, 408, 409, 411, 413, 425, 429}


@dataclass(frozen=True)
class Attempt:
    """One request under an idempotency key."""

    api_key: ApiKey
    key: str
    route: str  # "POST /v1/credit_grants?…"
    body: bytes
    at: datetime

    @property
    def sha256(self) -> str:
        """The hash of what was asked: route and body as sent."""
        return hashlib.sha256(self.route.encode() + b"\n" + self.body).hexdigest()


def read_key(header: str | None) -> str | None:
    """Check an Idempotency-Key header.

    Raises:
        BadRequest: empty, longer than 255, or not printable ASCII.
    """
    if header is not None and not KEY.fullmatch(header):
        raise BadRequest(
            "Idempotency-Key is 1 to 255 printable ASCII characters", code="invalid_idempotency_key"
        )
    return header


def answer_once(
    attempt: Attempt,
    act: Callable[[], Response],
    explain: Callable[[Exception], Response],
) -> HttpResponseBase:
    """Act unless this attempt was answered before; keep the answer with its effect.

    Args:
        act: Has the effect and answers; runs in a savepoint.
        explain: Turns an exception of `act` into its problem.

    Raises:
        InFlight: the first attempt still runs.
        IdempotencyConflict: the key came with another route or body before.
    """
    with transaction.atomic():
        _claim(attempt)
        stored = IdempotencyRecord.objects.filter(api_key=attempt.api_key, key=attempt.key).first()
        if stored is not None:
            return _replay(stored, attempt)
        try:
            with transaction.atomic():
                response = act()
        except Exception as error:  # noqa: BLE001 - every failure has its problem
            response = explain(error)
        _keep(attempt, response)
        return response


def first_answer(
    attempt: Attempt, act: Callable[[], dict[str, Any] | None]
) -> dict[str, Any] | None:
    """Act for a live key and a first attempt, and keep the answer with its effect, as a 200.

    For a caller in a transaction of its own, who rolls it back where this raises.

    Args:
        attempt: With an empty key there is nothing to remember.
        act: Returns None where it has done nothing.

    Returns:
        What `act` does; None where the key is revoked or the attempt is no first one.

    Raises:
        IntegrityError: another attempt was kept since; it has the answer.
    """
    words = {
        "api_key": attempt.api_key.pk, "key": attempt.key, "is_keyed": attempt.key != "",
        "name": _name_of(attempt),
    }  # fmt: skip
    ((is_live, is_claimed, is_known),) = run_prepared(_BEGIN, words)
    if not is_live or not is_claimed or is_known:
        return None
    content = act()
    if content is not None and attempt.key:
        words |= {
            "route": attempt.route[:_ROUTE_LENGTH], "sha256": attempt.sha256, "at": attempt.at,
            "body": to_json(content).decode(),
        }  # fmt: skip
        run_prepared(_KEEP, words)
    return content


def _name_of(attempt: Attempt) -> str:
    return f"idempotency:{attempt.api_key.pk}:{attempt.key}"


def _claim(attempt: Attempt) -> None:
    name = _name_of(attempt)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        (is_claimed,) = cursor.fetchone()
    if not is_claimed:
        raise InFlight("the first attempt with this idempotency key is still in flight")


def _replay(stored: IdempotencyRecord, attempt: Attempt) -> HttpResponse:
    if stored.request_sha256 != attempt.sha256:
        raise IdempotencyConflict("this idempotency key came with another request before")
    content_type = PROBLEM_TYPE if stored.response_status >= 400 else "application/json"
    response = HttpResponse(
        stored.response_body, status=stored.response_status, content_type=content_type
    )
    response["Idempotency-Replayed"] = "true"
    return response


def _keep(attempt: Attempt, response: Response) -> None:
    if response.status_code >= 500 or response.status_code in _NOT_KEPT:
        return
    IdempotencyRecord.objects.create(
        api_key=attempt.api_key,
        key=attempt.key,
        route=attempt.route[:_ROUTE_LENGTH],
        request_sha256=attempt.sha256,
        response_status=response.status_code,
        response_body=ExactJSONRenderer().render(response.data).decode(),
        created_at=attempt.at,
    )
