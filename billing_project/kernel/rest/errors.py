"""Every failure of the API as RFC 9457 `application/problem+json` with a stable `code`.

What a caller may cause is 4xx, a database that is down or busy 503, anything else a logged 500 that
tells nothing about the inside.
"""

import logging
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.signals import got_request_exception
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from billing_project.kernel.errors import BillingError

PROBLEM_TYPE = "application/problem+json"
RETRY_SECONDS = 1
MAX_ERRORS = 100  # Named in one problem: a body of a million bad fields gets no larger answer.
_ROOT = "$"
_logger = logging.getLogger(__name__)

# DRF's own errors; those that carry a code of ours (scope, key) keep it.
_CODES: dict[type[exceptions.APIException], str] = {
    exceptions.ParseError: "malformed_body",
    exceptions.NotAuthenticated: "not_authenticated",
    exceptions.AuthenticationFailed: "invalid_api_key",
    exceptions.NotFound: "not_found",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
    exceptions.Throttled: "too_many_requests",
}


class BadRequest(BillingError):
    """The request cannot be read at all: no JSON, a bad header, a key that is missing."""

    code = "malformed_body"
    status_code = 400


class BodyTooLarge(BillingError):
    """The body, as sent or once decompressed, passes the limit."""

    code = "body_too_large"
    status_code = 413


class LengthRequired(BillingError):
    """A chunked body came through a server that cannot tell where it ends."""

    code = "length_required"
    status_code = 411


class UnsupportedEncoding(BillingError):
    """The body is encoded in another way than gzip."""

    code = "unsupported_encoding"
    status_code = 415


class InFlight(BillingError):
    """The first attempt with this idempotency key has not ended."""

    code = "idempotency_in_flight"
    status_code = 409


def problem(
    status: int, code: str, detail: str, errors: list[dict[str, str]] | None = None
) -> dict[str, object]:
    """Build the members of a problem; `errors` name each bad field by its JSON path.

    What failed on our side names its request, so that its log lines can be found.
    """
    members: dict[str, object] = {
        "type": "about:blank",  # RFC 9457 4.2.1: the status says the type, `code` the case.
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and request_id:
        members["request_id"] = request_id
    return {**members, "errors": errors} if errors else members


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response:
    """Answer any exception of a view (DRF's EXCEPTION_HANDLER)."""
    if isinstance(error, BillingError):
        return _respond(error.status_code, error.code, error.message, _named_field(error))
    if isinstance(error, exceptions.ValidationError):
        fields = list(islice(_field_errors(error.detail, _ROOT), MAX_ERRORS))
        return _respond(422, "invalid_value", "the request has invalid values", fields)
    if isinstance(error, exceptions.APIException):
        return _from_framework(error)
    if isinstance(error, Http404):
        return _respond(404, "not_found", "nothing is here")
    if isinstance(error, DjangoPermissionDenied):
        return _respond(403, "not_allowed", "this is not allowed")
    if isinstance(error, DatabaseError | InterfaceError):
        return _from_database(error, context)
    return _unexpected(error, context)


def _respond(
    status: int, code: str, detail: str, errors: list[dict[str, str]] | None = None
) -> Response:
    response = Response(problem(status, code, detail, errors), status, content_type=PROBLEM_TYPE)
    if status == HTTPStatus.SERVICE_UNAVAILABLE or code == InFlight.code:
        response["Retry-After"] = str(RETRY_SECONDS)
    return response


def _from_framework(error: exceptions.APIException) -> Response:
    code = _CODES.get(type(error)) or str(error.get_codes())
    detail = str(error.detail)
    if isinstance(error, exceptions.UnsupportedMediaType):
        detail += " Say what the body is by its Content-Type header: application/json."
    response = _respond(error.status_code, code, detail)
    if auth_header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = auth_header
    if wait := getattr(error, "wait", None):
        response["Retry-After"] = str(int(wait))
    return response


def _from_database(error: Exception, context: Mapping[str, Any]) -> Response:
    """Tell input that PostgreSQL refused from a database that cannot serve now."""
    if isinstance(error, DataError):
        return _respond(422, "invalid_value", "a value is out of what can be stored")
    if isinstance(error, IntegrityError):
        _logger.warning("api_refused_by_database", extra=_facts(error))
        return _respond(409, "conflict", "the database refused this: it would break a rule")
    if isinstance(error, OperationalError | InterfaceError):
        _logger.warning("api_database_unavailable", extra=_facts(error))
        return _respond(503, "unavailable", "the database is down or busy; try again")
    return _unexpected(error, context)


def _facts(error: Exception) -> dict[str, str | None]:
    """Name what PostgreSQL refused; its own message would carry the row's values."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return {
        "error": type(error).__name__,
        "sqlstate": getattr(diagnosis, "sqlstate", None),
        "table": getattr(diagnosis, "table_name", None),
        "constraint": getattr(diagnosis, "constraint_name", None),
    }


def _unexpected(error: Exception, context: Mapping[str, Any]) -> Response:
    request = context.get("request")
    _logger.error("api_failed", exc_info=error)
    got_request_exception.send(sender=None, request=getattr(request, "_request", request))
    return _respond(500, "internal_error", "something failed here; it was logged")


def _named_field(error: BillingError) -> list[dict[str, str]] | None:
    if not error.field:
        return None
    return [{"path": f"{_ROOT}.{error.field}", "code": error.code, "detail": error.message}]


def _field_errors(detail: object, path: str) -> Iterator[dict[str, str]]:
    """Flatten DRF's nested errors into rows of path, code and detail."""
    if isinstance(detail, Mapping):
        for key, inner in detail.items():
            yield from _field_errors(inner, _step(path, key))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            is_leaf = isinstance(inner, exceptions.ErrorDetail)
            yield from _field_errors(inner, path if is_leaf else f"{path}[{index}]")
    else:
        code = getattr(detail, "code", "invalid")
        yield {"path": path, "code": str(code), "detail": str(detail)}


def _step(path: str, key: object) -> str:
    if key == "non_field_errors":
        return path
    return f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}"
