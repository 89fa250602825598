"""How far an event came, and whose facts are no part of its trace: worlds of their own."""

import pytest

from billing_project.console.lineage import (
    EventState,
    report_event,
    trace,
)
from billing_project.kernel.errors import NotFound
from invoicing.services.invoices import finalize_due
from metering.events import EventInput
from metering.services.aggregate import aggregate_batches
from metering.services.capture import capture_events
from tests.console.chain import (
    CLOSED_AT,
    USED_AT,
    close_period,
    event,
    recognise,
    run_chain,
)
from tests.invoicing.builders import START, cancel, open_shop, rate, subscribed

pytestmark = pytest.mark.django_db


def test_another_customer_s_facts_are_no_part_of_it() -> None:
    run_chain("beta")

    mine = {node.ref for node in trace([event("req-2")]).nodes}
    theirs = {node.ref for node in trace([event("req-2", "beta")]).nodes}

    assert theirs
    assert not mine & theirs


def test_an_event_goes_through_every_state() -> None:
    shop = open_shop()
    subscription = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    sent = EventInput(
        event_name="llm_request", identifier="req-1", customer="acme", timestamp=USED_AT,
        properties={"model": "small", "output_tokens": "150"},
    )  # fmt: skip
    states = []

    def note() -> None:
        states.append(report_event("acme", "req-1").state)

    capture_events(items=[sent], sender="test", at=USED_AT)
    note()
    aggregate_batches(at=USED_AT)
    note()
    rate(shop, "acme", USED_AT)
    note()
    close_period(shop, subscription)
    note()
    recognise(shop, subscription, CLOSED_AT)
    note()
    cancel(shop, "req-1", CLOSED_AT)
    note()

    assert states == ["received", "aggregated", "rated", "invoiced", "recognised", "cancelled"]


def test_a_quarantined_event_says_why() -> None:
    open_shop()
    sent = EventInput(
        event_name="llm_request", identifier="req-1", customer="nobody", timestamp=USED_AT,
        properties={"model": "small", "output_tokens": "1"},
    )  # fmt: skip
    capture_events(items=[sent], sender="test", at=USED_AT)

    report = report_event("nobody", "req-1")

    assert report.state == EventState.QUARANTINED
    assert report.reason == "unknown_customer"
    assert not report.lineage.nodes


def test_an_event_that_nobody_sent_is_not_found() -> None:
    with pytest.raises(NotFound):
        report_event("acme", "req-1")
