"""An event that has no price says why, instead of waiting in silence."""

from datetime import datetime, timedelta

import pytest

from billing_project.console.lineage import report_event
from credits.services.rating import rate_customer
from invoicing.models import Subscription
from metering.events import EventInput
from metering.services.adjust import amend_event
from metering.services.aggregate import aggregate_batches
from metering.services.capture import capture_events
from metering.services.meters import create_meter
from tests.console.chain import USED_AT
from tests.invoicing.builders import START, Shop, open_shop, subscribed


@pytest.fixture
def shop(db: None) -> Shop:
    """Return a shop that has a price for output tokens only."""
    return open_shop()


@pytest.fixture
def acme(shop: Shop) -> Subscription:
    """Let acme subscribe."""
    return subscribed(shop)


def _unpriced_meter(shop: Shop, event_name: str) -> None:
    create_meter(
        code="input_tokens", name="Input tokens", event_name=event_name, aggregation="sum",
        value_property="input_tokens", dimensions=("model",), unit="token",
        by=shop.maker, at=START,
    )  # fmt: skip


def _report(event_name: str = "llm_request", used_at: datetime = USED_AT, **counts: str) -> None:
    event = EventInput(
        event_name=event_name, identifier="req-1", customer="acme", timestamp=used_at,
        properties={"model": "new-model", **counts},
    )  # fmt: skip
    assert capture_events(items=[event], sender="test", at=USED_AT).accepted == 1


def _rate(shop: Shop, acme: Subscription) -> None:
    aggregate_batches(at=USED_AT)
    rate_customer(customer_id=acme.customer_id, by=shop.worker, at=USED_AT)


def _told() -> tuple[str, str]:
    report = report_event("acme", "req-1")
    return report.state, report.reason


def test_usage_without_a_rate_names_its_meter_and_dimensions(
    shop: Shop, acme: Subscription
) -> None:
    _unpriced_meter(shop, "embedding")
    _report("embedding", input_tokens="5")

    _rate(shop, acme)

    assert _told() == ("aggregated", "no rate for input_tokens, model new-model")


def test_an_event_that_is_priced_in_part_names_what_is_not(shop: Shop, acme: Subscription) -> None:
    _unpriced_meter(shop, "llm_request")
    _report(input_tokens="5", output_tokens="7")

    _rate(shop, acme)

    assert _told() == ("rated", "no rate for input_tokens, model new-model")


def test_usage_before_the_first_period_has_no_period(shop: Shop, acme: Subscription) -> None:
    _report(used_at=START - timedelta(days=3), output_tokens="5")

    _rate(shop, acme)

    assert _told() == ("aggregated", "no billing period covers it")


def test_usage_that_rating_takes_next_waits(shop: Shop, acme: Subscription) -> None:
    _report(output_tokens="5")

    aggregate_batches(at=USED_AT)

    assert _told() == ("aggregated", "waits to be rated")


def test_usage_that_was_rated_needs_no_reason(shop: Shop, acme: Subscription) -> None:
    _report(output_tokens="5")

    _rate(shop, acme)

    assert _told() == ("rated", "")


def test_an_amendment_s_reason_comes_first(shop: Shop, acme: Subscription) -> None:
    _unpriced_meter(shop, "embedding")
    _report("embedding", input_tokens="5")
    aggregate_batches(at=USED_AT)
    amend_event(
        customer=acme.customer, identifier="req-1", reason="counted twice",
        properties={"model": "new-model", "input_tokens": "4"}, by=shop.maker, at=USED_AT,
    )  # fmt: skip

    assert _told()[1] == "counted twice; no rate for input_tokens, model new-model"
