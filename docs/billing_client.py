"""A client of the billing API in one file: copy it into your app. Python 3.11, no dependencies.

It asks before work begins, reports what was used, and never counts twice: each event has one
identifier for ever, chosen before the first attempt, so that a retry is a duplicate and a success.

    client = BillingClient("https://billing.example", "abk_...", when_away="closed")
    leave = client.authorize(customer="acme", model="gpt-5.4", job="nightly",
                             estimate={"input_tokens": "1200", "output_tokens": "4000"})
    if leave.is_allowed:
        ...
        identifier = client.record(event_name="llm_request", customer="acme", properties={...})
        client.settle(leave, identifier)
    client.flush()

`record` only queues; `flush` sends, in batches, and keeps what could not be sent. One thread at a
time sends; any number may record.
"""

import gzip
import hashlib
import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

_MOST_ITEMS = 1_000  # The API takes as many events in one body.
_BUSY = {408, 425, 429, 500, 502, 503, 504}


class Refused(Exception):
    """The service understood the request and refused it: trying again changes nothing."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.status, self.problem = status, problem


class Away(Exception):
    """The service did not answer in time, however often it was asked."""


@dataclass(frozen=True)
class Leave:
    """Whether work may begin.

    Attributes:
        reason: The service's, or "service_away" where nobody could be asked.
        hold: What to settle or release; None where nothing is held.
        instead: The cheaper model to use, where the model was refused.
    """

    is_allowed: bool
    reason: str
    hold: str | None = None
    instead: str | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """What became of a flush; `problems` are the items that were not plainly accepted."""

    accepted: int = 0
    duplicates: int = 0
    left: int = 0
    problems: tuple[Mapping[str, Any], ...] = ()


def stable_identifier(event: Mapping[str, Any]) -> str:
    """Name an event by its content: the same use has the same name in every process.

    Two uses that agree in everything, their time included, are one: give your own identifier where
    that can happen.
    """
    text = json.dumps(event, sort_keys=True, separators=(",", ":"), default=str)
    return f"ev_{hashlib.sha256(text.encode()).hexdigest()[:40]}"


class BillingClient:
    """One key's way to the service.

    Args:
        when_away: What `authorize` says where the service cannot be asked: "open" lets work begin
            without a hold, "closed" does not.
        timeout: Seconds for one attempt.
        attempts: How often a request is tried, with growing pauses in between.
        most_queued: Events kept while the service is away; beyond it `record` raises `Away`, so
            that nothing is lost in silence.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        when_away: Literal["open", "closed"] = "closed",
        timeout: float = 2.0,
        attempts: int = 5,
        batch_size: int = 500,
        most_queued: int = 100_000,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not 1 <= batch_size <= _MOST_ITEMS:
            raise ValueError(f"a batch has 1 to {_MOST_ITEMS} events")
        self._base_url, self._key = base_url.rstrip("/"), key
        self._when_away, self._timeout, self._attempts = when_away, timeout, attempts
        self._batch_size, self._most_queued, self._sleep = batch_size, most_queued, sleep
        self._queue: deque[dict[str, Any]] = deque()
        self._sending = threading.Lock()

    def authorize(self, *, customer: str, **asked: Any) -> Leave:
        """Ask whether work may begin; a repeat of a lost answer makes no second hold.

        Args:
            asked: workspace, model, job, request, estimate or credits, ttl_seconds; see the API.

        Raises:
            Refused: the request itself is wrong (an unknown customer, no estimate).
        """
        try:
            answer = self._send("/v1/authorizations", {"customer": customer, **asked}, attempts=2)
        except Away:
            return Leave(self._when_away == "open", "service_away")
        return Leave(
            answer["decision"] == "allow",
            answer["reason"],
            answer["hold"],
            answer["instead"],
            answer,
        )

    def settle(self, leave: Leave, identifier: str) -> None:
        """Say which event the work became; nothing was held where the service was away.

        Raises:
            Refused: the hold lapsed, or was settled by another event. The event itself counts.
            Away: try again later; a hold that is never settled lapses.
        """
        if leave.hold:
            body = {"identifier": identifier}
            self._send(f"/v1/authorizations/{leave.hold}/settle", body)

    def release(self, leave: Leave) -> None:
        """Say that the work did not happen. Raises as `settle`."""
        if leave.hold:
            self._send(f"/v1/authorizations/{leave.hold}/release", {})

    def record(
        self,
        *,
        event_name: str,
        customer: str,
        properties: Mapping[str, Any],
        identifier: str | None = None,
        workspace: str | None = None,
        timestamp: datetime | None = None,
    ) -> str:
        """Queue one use and return its identifier; `flush` sends it.

        Raises:
            Away: the queue is full.
        """
        if len(self._queue) >= self._most_queued:
            raise Away(f"events that wait to be sent: {len(self._queue)}")
        used_at = timestamp or datetime.now(UTC)
        event: dict[str, Any] = {
            "event_name": event_name,
            "customer": customer,
            "timestamp": used_at.isoformat(),
            "properties": dict(properties),
        }
        if workspace is not None:
            event["workspace"] = workspace
        event["identifier"] = identifier or stable_identifier(event)
        self._queue.append(event)
        return str(event["identifier"])

    def flush(self) -> Sent:
        """Send all that waits; stop, and keep the rest, where the service is away."""
        with self._sending:
            accepted = duplicates = 0
            problems: list[Mapping[str, Any]] = []
            while batch := [self._queue[i] for i in range(min(self._batch_size, len(self._queue)))]:
                try:
                    answer = self._send("/v1/events", {"events": batch})
                except Away:
                    break
                accepted += answer["accepted"]
                duplicates += answer["duplicates"]
                problems += [row for row in answer["results"] if row["status"] != "duplicate"]
                for _ in batch:  # Only now: what was not answered is sent again.
                    self._queue.popleft()
            return Sent(accepted, duplicates, len(self._queue), tuple(problems))

    def _send(
        self, path: str, body: Mapping[str, Any], attempts: int | None = None
    ) -> Mapping[str, Any]:
        """Send a body until it is answered; every attempt has the same idempotency key.

        Raises:
            Refused: the answer says that trying again is useless.
            Away: no attempt was answered.
        """
        data = gzip.compress(json.dumps(body).encode())
        key = str(uuid.uuid4())
        last: Exception | None = None
        for attempt in range(attempts or self._attempts):
            if attempt:
                self._sleep(random.uniform(0, min(2.0**attempt / 10, 5.0)))  # noqa: S311
            try:
                return self._answer(path, data, key)
            except urllib.error.HTTPError as error:
                problem = _problem(error)
                is_in_flight = problem.get("code") == "idempotency_in_flight"
                if error.code not in _BUSY and not is_in_flight:
                    raise Refused(error.code, problem) from error
                last = error
            except OSError as error:  # No connection, a time-out, an answer cut short.
                last = error
        raise Away(f"{path}: {last}") from last

    def _answer(self, path: str, data: bytes, key: str) -> Mapping[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address is the app's own setting
            f"{self._base_url}{path}",
            data,
            {
                "Authorization": f"Bearer {self._key}",
                "Content-Type": "application/json",
                "Content-Encoding": "gzip",
                "Idempotency-Key": key,
            },
        )
        with urllib.request.urlopen(request, timeout=self._timeout) as response:  # noqa: S310
            answer: Mapping[str, Any] = json.load(response)
        return answer


def _problem(error: urllib.error.HTTPError) -> Mapping[str, Any]:
    try:
        problem = json.load(error)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
