"""Answers and refusals, as Stripe words them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    """A status, a body and headers."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """Stripe says no; `is_kept`: under the idempotency key, as what began to execute is."""

    def __init__(
        self, status: int, message: str, *, type_: str = "invalid_request_error",
        is_kept: bool = False, should_retry: bool | None = None, **error: Any,
    ) -> None:  # fmt: skip
        super().__init__(message)
        body = {"error": {"type": type_, "message": message, **error}}
        headers = {} if should_retry is None else {"Stripe-Should-Retry": str(should_retry).lower()}
        self.reply = Reply(status, body, headers)
        self.is_kept = is_kept


def missing(kind: str, pk: str, param: str = "id") -> Refusal:
    """Say that an object does not exist."""
    return Refusal(404, f"No such {kind}: '{pk}'", code="resource_missing", param=param)


def required(param: str) -> Refusal:
    """Say that a parameter is missing."""
    return Refusal(400, f"Missing required param: {param}.", code="parameter_missing", param=param)


def server_error() -> Reply:
    """Return a 500, which is kept and replayed."""
    error = {"type": "api_error", "message": "An unknown error occurred"}
    return Reply(500, {"error": error})


def refused_for_now(status: int, code: str, message: str) -> Reply:
    """Return a 409, 429 or 503: nothing happened, and nothing is kept."""
    kinds = {429: "rate_limit_error", 409: "invalid_request_error", 503: "api_error"}
    return Reply(status, {"error": {"type": kinds[status], "code": code, "message": message}})
