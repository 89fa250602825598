"""The demo's traffic is the real trace, placed and told as documented."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing_project.console.demo import traffic
from billing_project.console.demo.story import last_30_days
from billing_project.console.demo.traffic import Request
from billing_project.kernel.period import Period

END = datetime(2026, 11, 23, tzinfo=UTC)
PERIOD = Period(END - timedelta(days=30), END)


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    return traffic.read_requests()


def test_the_trace_is_whole(requests: list[Request]) -> None:
    assert len(requests) == 12_031
    assert sum(r.input_tokens for r in requests) == 144_793_823
    assert sum(r.cached_input_tokens for r in requests) == 54_098_411
    assert sum(r.output_tokens for r in requests) == 4_122_048


def test_requests_are_spread_over_customers_and_models(requests: list[Request]) -> None:
    first = Request(1, 0, 9, 1, 1, 1)  # 9 % 3 is 0; its last digit is 9.
    second = Request(2, 0, 13, 1, 1, 1)  # 13 % 3 is 1, 13 // 3 % 4 is 0; last digit 3.
    third = Request(3, 0, 50, 1, 1, 1)  # 50 % 3 is 2, 50 // 3 % 15 is 1; last digit 0.

    assert (first.customer, first.model) == ("cust-01", "claude-haiku-4-5")
    assert (second.customer, second.model) == ("cust-02", "gpt-5.4")
    assert (third.customer, third.model) == ("cust-07", "claude-opus-4-6")
    assert len({r.customer for r in requests}) == 20


def test_every_request_falls_into_the_period(requests: list[Request]) -> None:
    stamps = [traffic.timestamp(r, PERIOD) for r in requests]

    assert stamps[0] == PERIOD.start
    assert all(stamp in PERIOD for stamp in stamps)
    assert stamps == sorted(stamps)


def test_the_period_ends_at_the_last_midnight() -> None:
    assert last_30_days(END + timedelta(hours=15)) == PERIOD


def test_what_is_sent_twice_wrong_or_late(requests: list[Request]) -> None:
    sent = list(traffic.stream(requests, PERIOD))
    keys = Counter(str(body["identifier"]) for body in sent)

    # 12,031 less the late one, plus every twentieth again (601), plus three conflicting repeats.
    assert len(sent) == 12_030 + 601 + 3
    assert sum(count == 2 for count in keys.values()) == 601 + 3
    assert sum(body["customer"] == traffic.UNKNOWN_NAME for body in sent) == 10
    assert f"req-{traffic.late_row(requests)}" not in keys


def test_prices_are_160_credits_a_supplier_dollar() -> None:
    prices = {(meter, model): price for meter, model, price in traffic.credit_prices()}

    # Credits per million: gpt-5.4 400 / 40 / 2,400; opus 800 / 80 / 4,000; haiku 160 / 16 / 800.
    million = Decimal(1_000_000)
    for model, expected in (
        ("gpt-5.4", (400, 40, 2_400)),
        ("claude-opus-4-6", (800, 80, 4_000)),
        ("claude-haiku-4-5", (160, 16, 800)),
    ):
        assert [prices[meter, model] * million for meter in traffic.METERS] == list(expected)
