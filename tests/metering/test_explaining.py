"""What became of any event, in words: what stopped it, where, and who answers for it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import User
from metering.models import Customer, QuarantinedEvent
from metering.selectors.explaining import Explanation, customers_of, explain_event
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import aggregate_batches
from metering.services.quarantine import dismiss_quarantined
from metering.services.workbench import assign_group
from tests.metering.backfills import a_backfill, applied, upload
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db
PROD_ONLY = [{"property": "env", "operator": "eq", "value": "prod"}]


@pytest.fixture(autouse=True)
def acme(at: datetime, db: None) -> Customer:
    a_meter(at)
    return a_customer(at)


def _explain(customer: str = "acme", identifier: str = "e1") -> Explanation:
    return explain_event(customer, identifier)


def _names(told: Explanation) -> list[tuple[str, str]]:
    return [(step.name, str(step.progress)) for step in told.steps]


def test_a_counted_event_names_its_meters_and_hours(at: datetime) -> None:
    a_meter(at, "count", code="prod_calls", filters=PROD_ONLY)
    send(at, an_event(timestamp=at))
    aggregate_batches(at=at)

    told = _explain()

    assert (told.state, told.goes_on) == ("aggregated", True)
    assert sorted(_names(told)) == [
        ("aggregated", "done"), ("metered", "done"), ("metered", "skipped"), ("received", "done"),
    ]  # fmt: skip
    texts = {step.text for step in told.steps}
    assert "meter tokens_sum reads 100" in texts
    assert "meter prod_calls counts only where env is prod; here env is not there" in texts
    assert "counted in the hour of 2026-11-20 12:00 UTC by tokens_sum" in texts


def test_an_event_that_waits_says_since_when(at: datetime) -> None:
    send(at, an_event())

    told = _explain()

    assert told.summary == (
        "Not billed yet: it waits to be aggregated since 2026-11-20 12:00:00 UTC."
    )
    assert not told.goes_on


def test_no_filter_passes(at: datetime) -> None:
    a_meter(at, "count", code="prod_calls", event_name="call", filters=PROD_ONLY)
    send(at, an_event(event_name="call", properties={"env": "test"}))

    told = _explain()

    assert told.summary == (
        "Not billed: meter prod_calls counts only where env is prod; here env is test."
    )
    assert told.steps[-1].owner == "engineering"


def test_a_meter_that_was_made_later_counts_later_ones(at: datetime) -> None:
    a_meter(at, "count", code="prod_calls", event_name="call", filters=PROD_ONLY)
    send(at, an_event(event_name="call", properties={"env": "test"}))
    a_meter(at, "count", code="calls", event_name="call")

    assert "meter calls was made after this event was stored" in _explain().summary


def test_a_cancelled_event_says_by_whom_and_why(
    acme: Customer, engineer: User, at: datetime
) -> None:
    send(at, an_event())
    properties = {"tokens": "5"}
    named: dict[str, Any] = {"customer": acme, "identifier": "e1", "by": engineer, "at": at}
    amend_event(**named, properties=properties, reason="miscounted")
    cancel_event(**named, reason="a test")

    told = _explain()

    assert told.state == "cancelled"
    assert [name for name, _ in _names(told)] == ["received", "amended", "cancelled"]
    assert told.summary == "Not billed: cancelled by eli.engineer: a test."


def test_a_quarantined_event_says_what_it_waits_for_and_who_answers(
    support: User, at: datetime
) -> None:
    send(at, an_event(customer="nobody"))
    before = _explain("nobody").summary
    assign_group(
        reason="unknown_customer", missing="nobody", role="support", person=support,
        by=support, at=at,
    )  # fmt: skip

    after = _explain("nobody")

    assert before == (
        "Not billed: no customer or alias is called nobody: it waits in quarantine,"
        " support answers for it."
    )
    assert after.steps[-1].owner == "sam.support"


def test_a_dismissed_event_says_by_whom_and_why(support: User, at: datetime) -> None:
    send(at, an_event(customer="nobody"))
    ids = QuarantinedEvent.objects.values_list("pk", flat=True)
    dismiss_quarantined(ids=list(ids), reason="a load test", by=support, at=at)

    told = _explain("nobody")

    assert told.state == "dismissed"
    assert told.summary == "Not billed: dismissed by sam.support: a load test."


def test_a_refused_event_is_a_counter_and_a_sample(at: datetime) -> None:
    send(at, an_event(timestamp=at - timedelta(days=90)))

    told = _explain()

    assert told.state == "rejected"
    assert told.summary.startswith(
        "Not billed: refused at the door (timestamp_too_far_in_past): timestamps go back to"
    )


def test_a_contradiction_is_told_and_changes_nothing(at: datetime) -> None:
    send(at, an_event())
    send(at, an_event(properties={"tokens": "7"}))
    aggregate_batches(at=at)

    told = _explain()

    assert ("contradicted", "skipped") in _names(told)
    assert told.goes_on


def test_what_never_came_is_not_found() -> None:
    with pytest.raises(NotFound, match="it never came"):
        _explain(identifier="never")


def test_an_identifier_is_found_over_all_customers_by_their_keys(at: datetime) -> None:
    for name in ("beta", "gamma"):
        a_customer(at, name)
    send(at, an_event(), an_event(customer="beta"), an_event(customer="nobody"))
    send(at, an_event(customer="gamma", timestamp=at - timedelta(days=90)))

    with CaptureQueriesContext(connection) as queries:
        found = customers_of("e1")

    assert found == ["acme", "beta", "gamma", "nobody"]
    assert len(queries) == 1
    assert customers_of("e2") == []


def test_a_cancellation_that_was_taken_back_stops_nothing(
    acme: Customer, engineer: User, at: datetime
) -> None:
    used = an_event(timestamp=at - timedelta(hours=2))
    send(at - timedelta(hours=1), used)
    aggregate_batches(at=at)
    cancel_event(customer=acme, identifier="e1", reason="a test", by=engineer, at=at)
    range_at = at - timedelta(hours=3)
    backfill = a_backfill(acme, range_at, at, at)
    upload(backfill, at, used)
    applied(backfill, at)

    told = _explain()

    assert [pair for pair in _names(told) if pair[0] in {"cancelled", "reinstated"}] == [
        ("cancelled", "skipped"), ("reinstated", "done"),
    ]  # fmt: skip
    assert f"in backfill {backfill.pk}" in "".join(step.text for step in told.steps)
    assert (told.state, told.goes_on) == ("aggregated", True)
