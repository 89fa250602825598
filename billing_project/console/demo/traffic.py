"""Real requests as meter events: who sent them, when, with which model."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from billing_project.kernel.period import Period

DATA = Path(__file__).resolve().parent.parent / "data"
PRICES = DATA / "supplier_prices.json"
TRACE_MS = 3_537_000  # The trace's hour; it is stretched over the billing period.
EVENT_NAME = "llm_request"
METERS = ("input_tokens", "cached_input_tokens", "output_tokens")
MODELS = ("claude-opus-4-6", "gpt-5.4", "claude-haiku-4-5")
CREDITS_PER_DOLLAR = 160

# Rows with a story of their own; none is a multiple of DOUBLED.
DOUBLED = 20  # Every twentieth event is sent twice.
CONFLICTING = (101, 5_003, 11_007)  # Repeated with other content.
UNKNOWN_NAME = "cust-07-eu"  # Ten requests of cust-07 name a customer that nobody mapped yet.
UNKNOWN_COUNT = 10


@dataclass(frozen=True)
class Request:
    """One row of the trace. Token counts are what the supplier metered."""

    row: int
    offset_ms: int
    conversation: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int

    @property
    def identifier(self) -> str:
        """The sender's key of this request."""
        return f"req-{self.row}"

    @property
    def customer(self) -> str:
        """Who sent the conversation: one heavy, four medium and fifteen light customers."""
        group = self.conversation // 3
        match self.conversation % 3:
            case 0:
                return "cust-01"
            case 1:
                return f"cust-{2 + group % 4:02}"
            case _:
                return f"cust-{6 + group % 15:02}"

    @property
    def model(self) -> str:
        """Two conversations of ten use the premium model, three the middle one, five the small."""
        digit = self.conversation % 10
        return MODELS[0] if digit < 2 else MODELS[1] if digit < 5 else MODELS[2]


def read_requests() -> list[Request]:
    """Read the trace in its order; rows are numbered from 1."""
    with (DATA / "llm_requests.csv").open(newline="") as file:
        return [
            Request(row, *(int(value) for value in line))
            for row, line in enumerate(list(csv.reader(file))[1:], start=1)
        ]


def timestamp(request: Request, period: Period) -> datetime:
    """Place a request in the period, to the microsecond, in proportion to its offset."""
    length = (period.end - period.start) // timedelta(microseconds=1)
    return period.start + timedelta(microseconds=length * request.offset_ms // TRACE_MS)


def event(request: Request, period: Period, customer: str = "") -> dict[str, object]:
    """Write a request as the body of one meter event."""
    return {
        "event_name": EVENT_NAME,
        "identifier": request.identifier,
        "customer": customer or request.customer,
        "timestamp": timestamp(request, period).isoformat(),
        "properties": {
            "model": request.model,
            "input_tokens": str(request.input_tokens),
            "cached_input_tokens": str(request.cached_input_tokens),
            "output_tokens": str(request.output_tokens),
        },
    }


def unmapped_rows(requests: list[Request]) -> set[int]:
    """Choose the requests of cust-07 that are sent under a name nobody mapped."""
    own = (r.row for r in requests if r.customer == "cust-07" and r.row % DOUBLED)
    return {row for row, _ in zip(own, range(UNKNOWN_COUNT), strict=False)}


def late_row(requests: list[Request]) -> int:
    """Choose the request that arrives after its month is closed: an early one of cust-01."""
    return next(r.row for r in requests if r.customer == "cust-01" and r.row % DOUBLED)


def stream(requests: list[Request], period: Period) -> Iterator[dict[str, object]]:
    """Yield what the apps send: every request, some twice, some wrong, all but the late one."""
    unmapped, late = unmapped_rows(requests), late_row(requests)
    for request in requests:
        if request.row == late:
            continue
        body = event(request, period, UNKNOWN_NAME if request.row in unmapped else "")
        yield body
        if request.row % DOUBLED == 0:
            yield body
        if request.row in CONFLICTING:
            changed = Request(
                request.row, request.offset_ms, request.conversation,
                request.input_tokens + 1, request.cached_input_tokens, request.output_tokens,
            )  # fmt: skip
            yield event(changed, period)


def credit_prices() -> Iterator[tuple[str, str, Decimal]]:
    """Yield (meter, model, credits a token): 160 credits per supplier dollar, exactly."""
    text = PRICES.read_text()
    prices = json.loads(text, parse_float=Decimal)
    columns = dict(
        zip(
            METERS,
            ("input_cost_per_token", "cache_read_input_token_cost", "output_cost_per_token"),
            strict=True,
        )
    )
    for model in MODELS:
        for meter, column in columns.items():
            yield meter, model, prices[model][column] * CREDITS_PER_DOLLAR
