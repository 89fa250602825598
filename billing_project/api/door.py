"""The short way for events, balances and authorizations, past what Django does for the rest.

Apps that cannot batch send one event a request, and some ask for a balance before each of their
own; most of such a request's time would go into layers that it does not need. Only the plainest
takes the short way; whatever is in the least unusual goes the long way, with its body put back,
and gets the same answer there.
"""

import io
import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http.request import split_domain_port, validate_host
from rest_framework.exceptions import AuthenticationFailed

from billing_project.api.balance import BALANCE_ROUTE, balance_answer
from billing_project.api.middleware import bound_request_id, note_answer
from billing_project.kernel.errors import BillingError
from billing_project.kernel.keys import live_key_ids, recalled_api_key
from billing_project.kernel.models import ApiKey
from billing_project.kernel.rest.auth import ADMIN
from billing_project.kernel.rest.connections import CONNECTION
from billing_project.kernel.rest.errors import problem_response
from billing_project.kernel.rest.idempotency import KEY
from billing_project.kernel.rest.rates import RATES
from billing_project.kernel.rest.rendering import to_json
from billing_project.kernel.rest.room import ROOM, leave_room, weigh
from credits.api.plain_authorizations import ROUTE as AUTHORIZATIONS_ROUTE
from credits.api.plain_authorizations import authorization_answer
from metering.api.events import batch_answer, single_answer
from metering.api.gathering import GATHERER
from metering.events import Body, EventInput, decode_body

Environ = dict[str, Any]
Answer = tuple[int, object, dict[str, str]]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
_EVENTS = "/v1/events"
_AUTHORIZATIONS = f"/{AUTHORIZATIONS_ROUTE}"
_HEAVY = 64 * 1024  # Of an estimate; what is larger waits for its room by the long way.
_BALANCE = re.compile(r"/v1/customers/([A-Za-z0-9._:@+-]{1,128})/balance", re.ASCII)
_MAX_BYTES = 1024 * 1024  # Larger ones are read piece by piece, so that many at once are bearable.
_MOST_HOSTS = 100
_UNUSUAL = ("HTTP_CONTENT_ENCODING", "HTTP_TRANSFER_ENCODING", "QUERY_STRING")


class Way(NamedTuple):
    """A request that is plain by its head."""

    route: str  # For the log and the metrics.
    answer: Callable[[], Answer | None]  # None: it takes the long way after all.


class Door:
    """A WSGI application in front of Django's."""

    def __init__(self, long_way: Application) -> None:
        self._long_way = long_way
        self._hosts: set[str] = set()  # Those that were found to be allowed.

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer plain requests at once, everything else by Django."""
        started = time.perf_counter_ns()
        path = environ.get("PATH_INFO", "")
        if path == _EVENTS:
            way = self._events(environ)
        elif path == _AUTHORIZATIONS:
            way = self._authorizations(environ)
        else:
            asked = _BALANCE.fullmatch(path)
            way = self._balance(environ, asked[1]) if asked else None
        if way is None:
            return self._long_way(environ, start_response)
        with bound_request_id(environ.get("HTTP_X_REQUEST_ID", "")) as request_id:
            answer = way.answer()
            if answer is None:
                return self._long_way(environ, start_response)
            status, content, headers = answer
            headers["X-Request-ID"] = request_id
            nanoseconds = time.perf_counter_ns() - started
            note_answer(environ["REQUEST_METHOD"], way.route, status, nanoseconds)
        body = to_json(content)
        headers["Content-Length"] = str(len(body))
        start_response(f"{status} -", list(headers.items()))
        return [body]

    def _events(self, environ: Environ) -> Way | None:
        if (posted := self._posted(environ, "events:write")) is None:
            return None
        return Way("v1/events", partial(_answer, *posted))

    def _authorizations(self, environ: Environ) -> Way | None:
        name = environ.get("HTTP_IDEMPOTENCY_KEY")
        if name is not None and not KEY.fullmatch(name):
            return None
        posted = self._posted(environ, "authorize")
        if posted is None or len(posted[0]) >= _HEAVY:
            return None
        return Way(AUTHORIZATIONS_ROUTE, partial(_authorization_answer, *posted, name))

    def _posted(self, environ: Environ, scope: str) -> tuple[bytes, ApiKey] | None:
        """Return the body that a plain request posts as JSON, and its key; None for all others."""
        if environ["REQUEST_METHOD"] != "POST" or environ.get("CONTENT_TYPE") != "application/json":
            return None
        key = self._key_of(environ, scope)
        sent = _read(environ) if key else None
        return None if key is None or sent is None else (sent, key)

    def _balance(self, environ: Environ, name: str) -> Way | None:
        if environ["REQUEST_METHOD"] != "GET" or environ.get("CONTENT_LENGTH"):
            return None
        key = self._key_of(environ, "usage:read")
        return Way(BALANCE_ROUTE, partial(_balance_answer, name, key)) if key else None

    def _key_of(self, environ: Environ, scope: str) -> ApiKey | None:
        """Return the key of a request that is plain by its head and may do this, or None."""
        is_plain = (
            not any(environ.get(name) for name in _UNUSUAL)
            and _is_secure_enough(environ)
            and self._is_allowed(environ.get("HTTP_HOST", ""))
        )
        kind, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        key = recalled_api_key(token) if is_plain and kind == "Bearer" else None
        if key is None or not {scope, ADMIN}.intersection(key.scopes):
            return None
        return key

    def _is_allowed(self, host: str) -> bool:
        if host in self._hosts:
            return True
        is_allowed = validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)
        if is_allowed and len(self._hosts) < _MOST_HOSTS:
            self._hosts.add(host)
        return is_allowed


def _is_too_fast(key: ApiKey) -> bool:
    """Count the call; one that takes the long way for another reason is counted there."""
    limit: int = settings.API_CALLS_PER_SECOND
    return bool(limit and RATES.take(key.pk, limit, time.monotonic_ns()))


def _is_secure_enough(environ: Environ) -> bool:
    if not settings.SECURE_SSL_REDIRECT:
        return True
    if settings.SECURE_PROXY_SSL_HEADER:
        name, value = settings.SECURE_PROXY_SSL_HEADER
        return bool(environ.get(name) == value)
    return bool(environ["wsgi.url_scheme"] == "https")


def _read(environ: Environ) -> bytes | None:
    """Read a body of a known length; the long way finds it as it was. None where it looks there."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdigit() or not 0 < int(length) <= _MAX_BYTES:
        return None
    sent = environ["wsgi.input"].read(int(length))
    environ["wsgi.input"] = io.BytesIO(sent)
    return sent if len(sent) == int(length) else None


def _answer(sent: bytes, key: ApiKey) -> Answer | None:
    """Return status, content and headers; None if it takes the long way after all."""
    try:
        taken = ROOM.enter(weigh(sent))
    except BillingError as error:
        return _problem(error)
    try:
        body = decode_body(sent)
        is_bad = not body.is_batch and not isinstance(body.items[0], EventInput)
        if is_bad or _is_too_fast(key):
            return None
        return _stored(body, key)
    except (BillingError, AuthenticationFailed):
        return None
    finally:
        body = None  # type: ignore[assignment]
        leave_room(taken)


def _stored(body: Body, key: ApiKey) -> Answer:
    """Store one event or a batch and answer.

    Raises:
        AuthenticationFailed: the key was revoked.
    """
    content: object
    try:
        if body.is_batch:
            CONNECTION.check()
            status, content, content_type = 200, batch_answer(body.items, key), "application/json"
        else:
            (item,) = body.items
            status, content, content_type = single_answer(item, GATHERER.store(item, key))
    except AuthenticationFailed:
        raise
    except Exception as error:  # noqa: BLE001 - every failure has its problem
        CONNECTION.doubt()
        return _problem(error)
    return status, content, _headers(content_type)


def _headers(content_type: str) -> dict[str, str]:
    return {"Content-Type": content_type, "X-Content-Type-Options": "nosniff"}


def _balance_answer(external_id: str, key: ApiKey) -> Answer | None:
    """Say what is left; what fails is said by the long way."""
    try:
        CONNECTION.check()
        if not live_key_ids([key.pk]):
            return None
        content = balance_answer(external_id)
    except BillingError:
        return None
    except Exception:  # noqa: BLE001 - the long way meets it too, and has the problem for it
        CONNECTION.doubt()
        return None
    return None if _is_too_fast(key) else (200, content, _headers("application/json"))


def _authorization_answer(sent: bytes, key: ApiKey, name: str | None) -> Answer | None:
    """Decide on work; what is refused as a request has no effect here, and the long way says it.

    Such a request is counted twice against its key's rate.
    """
    if _is_too_fast(key):
        return None
    try:
        CONNECTION.check()
        content = authorization_answer(sent, key, name)
    except BillingError:
        return None
    except (OperationalError, InterfaceError) as error:
        CONNECTION.doubt()
        # What was lost may have been decided: only a key tells, and the long way looks it up.
        return None if name is not None else _problem(error)
    except Exception:  # noqa: BLE001 - the long way meets it too, and has the problem for it
        CONNECTION.doubt()
        return None
    return None if content is None else (200, content, _headers("application/json"))


def _problem(error: Exception) -> Answer:
    response = problem_response(error, {})
    return response.status_code, response.data, dict(response.items())
