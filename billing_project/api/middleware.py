"""Around every request: its id, one log line, its metrics; and under /v1 problems instead of pages.

What fails outside the views (an unknown path, a forbidden host, a body that Django refuses) would
be an HTML page, and with DEBUG one that shows the inside.
"""

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from billing_project.api import metrics
from billing_project.kernel.rest.errors import PROBLEM_TYPE, problem

GetResponse = Callable[[HttpRequest], HttpResponseBase]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_API = "/v1/"
_CODES = {
    400: "bad_request",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}
_logger = logging.getLogger(__name__)


class RequestLog:
    """Name the request, then log and count its answer: method, route, status, time."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on under its id."""
        started = time.perf_counter_ns()
        with bound_request_id(request.headers.get("X-Request-ID", "")) as request_id:
            response = self.get_response(request)
            response["X-Request-ID"] = request_id
            route = request.resolver_match.route if request.resolver_match else "unmatched"
            nanoseconds = time.perf_counter_ns() - started
            note_answer(request.method or "", route, response.status_code, nanoseconds)
        return response


@contextmanager
def bound_request_id(sent: str) -> Iterator[str]:
    """Name what is logged inside; the sender's own id is kept if it is a plain one."""
    request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        yield request_id


def note_answer(method: str, route: str, status: int, nanoseconds: int) -> None:
    """Write the one log line of a request and count it."""
    metrics.observe(method, route, status, nanoseconds)
    facts = {"method": method, "route": route, "status": status}
    _logger.info("http_request", extra={**facts, "milliseconds": nanoseconds // 10**6})


class ProblemPages:
    """Replace Django's own error pages under /v1 by problems."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Keep what the views answered; turn every other failure into a problem."""
        response = self.get_response(request)
        if response.status_code < HTTPStatus.BAD_REQUEST or not request.path.startswith(_API):
            return response
        if response.get("Content-Type", "") == PROBLEM_TYPE:
            return response
        return _problem_page(response.status_code)


def _problem_page(status: int) -> HttpResponse:
    code = _CODES.get(status, "internal_error" if status >= 500 else "bad_request")
    detail = HTTPStatus(status).description or HTTPStatus(status).phrase
    return JsonResponse(problem(status, code, detail), status=status, content_type=PROBLEM_TYPE)
