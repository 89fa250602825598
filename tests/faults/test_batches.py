"""Batches that repeat, contradict or shuffle themselves, sent over the API's own views."""

import hashlib
import json
import random
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_project.kernel.users import worker_user
from metering.models import Customer, EventBatch, MeterEvent, QuarantinedEvent, UsageWindow
from metering.services.customers import add_alias
from metering.services.quarantine import replay_quarantine
from tests.faults.rig import Event, aggregate_all, an_event, assert_books_hold
from tests.metering.builders import a_customer, a_meter

NOW = datetime.now(UTC).replace(microsecond=0)
_serial = count()


def _post(client: Client, content: object) -> Any:
    return client.post("/v1/events", json.dumps(content), content_type="application/json")


def _batch(client: Client, *events: Event) -> Any:
    answer = _post(client, {"events": events})
    assert answer.status_code == 200
    return answer.json()


def _windows() -> list[tuple[str, datetime, str]]:
    aggregate_all()
    rows = UsageWindow.objects.order_by("meter__code", "start_at", "dimensions")
    return [(str(one.meter), one.start_at, str(one.quantity)) for one in rows]


_CHANGES = st.sampled_from(
    [
        {"properties": {"model": "haiku", "tokens": "101"}},
        {"properties": {"model": "opus", "tokens": "100"}},
        {"properties": {"model": "haiku", "tokens": "100", "job": "x"}},
        {"properties": {"model": "haiku", "tokens": 100}},
        {"workspace": "prod"},
        {"timestamp": (NOW - timedelta(hours=1)).isoformat()},
    ]
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(change=_CHANGES, is_changed_first=st.booleans(), is_batch=st.booleans())
def test_i2_other_content_is_a_conflict_whichever_comes_first(
    client: Client, change: Event, is_changed_first: bool, is_batch: bool
) -> None:
    first = an_event(f"i2-{next(_serial)}")
    second = {**first, **change}
    if is_changed_first:
        first, second = second, first

    assert _post(client, first).json()["status"] == "accepted"
    kept = MeterEvent.objects.get(identifier=first["identifier"]).properties
    answer = _post(client, {"events": [second]} if is_batch else second)

    assert answer.status_code == (200 if is_batch else 409)
    item = answer.json()["results"][0] if is_batch else answer.json()
    assert item["code"] == "identifier_conflict"
    assert MeterEvent.objects.get(identifier=first["identifier"]).properties == kept
    waiting = QuarantinedEvent.objects.get(identifier=first["identifier"])
    assert (waiting.reason, waiting.state) == ("identifier_conflict", "open")
    assert _post(client, first).json()["status"] == "duplicate"


def test_i3_g16_the_same_key_twice_in_one_batch_equal_and_different(client: Client) -> None:
    one, other = an_event("twice"), an_event("twice", properties={"model": "haiku", "tokens": "7"})

    answer = _batch(client, one, one, other, an_event("else"), one)

    assert (answer["accepted"], answer["duplicates"], answer["conflicts"]) == (2, 2, 1)
    assert [(row["index"], row["status"]) for row in answer["results"]] == [
        (1, "duplicate"),
        (2, "conflict"),
        (4, "duplicate"),
    ]
    assert MeterEvent.objects.get(identifier="twice").properties["tokens"] == "100"


def _month(size: int) -> list[Event]:
    """Make events of two hours in which order matters to none of the meters, or should not."""
    dice = random.Random(5)
    return [
        an_event(
            f"i5-{n}",
            timestamp=(NOW - timedelta(minutes=dice.randrange(120))).isoformat(),
            properties={"model": dice.choice("ab"), "tokens": str(dice.randrange(1, 10**6))},
        )
        for n in range(size)
    ]


def test_i5_any_order_gives_the_same_windows(client: Client) -> None:
    events, seen = _month(40), []
    for seed in range(4):
        dice = random.Random(seed)
        dice.shuffle(events)
        cuts = sorted(dice.sample(range(1, 40), 3))
        with transaction.atomic():
            for start, end in zip([0, *cuts], [*cuts, 40], strict=True):
                _batch(client, *events[start:end], events[start])
                if seed % 2:
                    aggregate_all()
            seen.append(_windows())
            assert_books_hold()
            transaction.set_rollback(True)

    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert len(seen[0]) >= 8  # Two meters, two models, two hours or three.


def test_an_identical_retry_without_timestamp_is_a_duplicate(client: Client, settings: Any) -> None:
    """What a sender left out is no content: the server's own clock must not make it differ."""
    settings.BILLING_CLOCK = NOW.isoformat()
    assert _post(client, an_event("no-time")).json()["status"] == "accepted"
    settings.BILLING_CLOCK = (NOW + timedelta(seconds=90)).isoformat()

    assert _post(client, an_event("no-time")).json()["status"] == "duplicate"
    assert MeterEvent.objects.get().timestamp == NOW


def test_a_stale_retry_after_the_window_is_a_duplicate_for_ever(
    client: Client, settings: Any
) -> None:
    event = an_event("stale", timestamp=NOW.isoformat())
    settings.BILLING_CLOCK = NOW.isoformat()
    assert _post(client, event).json()["status"] == "accepted"

    for days in (35, 36, 400):
        settings.BILLING_CLOCK = (NOW + timedelta(days=days, seconds=1)).isoformat()
        assert _post(client, event).json()["status"] == "duplicate"
        other = {**event, "workspace": "prod"}
        assert _post(client, other).json()["code"] == "identifier_conflict"
        fresh = an_event(f"fresh-{days}", timestamp=NOW.isoformat())
        assert _post(client, fresh).json()["code"] == "timestamp_too_far_in_past"


def test_i16_unmatched_is_kept_then_mapped_and_counted_once(client: Client) -> None:
    unknown = [
        an_event("who", customer="acme-eu"),
        an_event("what", event_name="image"),
        an_event("how-many", properties={"model": "haiku"}),
    ]
    for _ in range(2):  # The second round is a retry: nothing more is kept.
        assert _batch(client, *unknown)["quarantined"] == 3
    assert not MeterEvent.objects.exists()
    assert QuarantinedEvent.objects.filter(state="open").count() == 3

    by, at = worker_user(), datetime.now(UTC)
    add_alias(external_id="acme-eu", customer=Customer.objects.get(), reason="region", by=by, at=at)
    a_meter(at, "count", code="images", event_name="image")
    first, again = replay_quarantine(by=by, at=at), replay_quarantine(by=by, at=at)

    assert (first.replayed, again.replayed) == (2, 0)
    assert _batch(client, *unknown[:2])["duplicates"] == 2
    aggregate_all()
    assert UsageWindow.objects.get(meter__code="tokens_sum").quantity == 100
    assert UsageWindow.objects.get(meter__code="images").quantity == 1
    assert QuarantinedEvent.objects.get(state="open").reason == "missing_value"


# ---- The gauntlet: public bugs of other billing systems ------------------------------------------


def test_g2_one_identifier_at_two_customers_is_billed_to_both(client: Client) -> None:
    a_customer(datetime.now(UTC), "globex")

    answer = _batch(client, an_event("same"), an_event("same", customer="globex"))

    assert answer["accepted"] == 2
    aggregate_all()
    sums = UsageWindow.objects.filter(meter__code="tokens_sum").order_by("customer__external_id")
    assert list(sums.values_list("customer__external_id", flat=True)) == ["acme", "globex"]
    assert list(sums.values_list("quantity", flat=True)) == [100, 100]


def test_g3_an_identifier_made_from_the_content_makes_a_second_producer_harmless(
    client: Client,
) -> None:
    """Random keys cannot be told from new usage; docs/operations.md says how to make others."""

    def identifier(*parts: str) -> str:
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    copies = [an_event(identifier("acme", "chat-7", "turn-3")) for _ in range(5)]
    assert _batch(client, *copies)["accepted"] == 1
    assert _post(client, copies[0]).json()["status"] == "duplicate"
    assert _post(client, an_event(identifier("acme", "chat-7", "turn-4"))).json()["status"] == (
        "accepted"
    )


def test_g12_the_same_identifier_with_other_filter_values_is_not_billed_again(
    client: Client,
) -> None:
    _batch(client, an_event("g12"))

    answer = _batch(client, an_event("g12", properties={"model": "opus", "tokens": "100"}))

    assert answer["conflicts"] == 1
    aggregate_all()
    assert [row.dimensions for row in UsageWindow.objects.filter(meter__code="tokens_sum")] == [
        {"model": "haiku"}
    ]


def test_g17_a_repeated_write_makes_no_second_row_under_another_name(client: Client) -> None:
    sent = {"external_id": "initech", "name": "Initech", "currency": "USD"}
    answers = [
        client.post(
            "/v1/customers",
            json.dumps(sent),
            content_type="application/json",
            headers={"idempotency-key": "g17"},
        )
        for _ in range(3)
    ]

    assert {answer.content for answer in answers} == {answers[0].content}
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [
        None,
        "true",
        "true",
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM customer WHERE external_id = 'initech'")
        assert cursor.fetchone() == (1,)


def test_g18_a_duplicate_is_a_success_and_moves_no_counter(client: Client) -> None:
    _batch(client, an_event("g18"))
    before = _windows()

    for _ in range(5):
        answer = _post(client, an_event("g18"))
        assert (answer.status_code, answer.json()["status"]) == (200, "duplicate")

    assert _windows() == before
    assert EventBatch.objects.get().event_count == 1
    assert not QuarantinedEvent.objects.exists()


@pytest.mark.parametrize("size", [1, 1000])
def test_a_batch_of_repeats_is_answered_within_its_bounds(client: Client, size: int) -> None:
    answer = _batch(client, *[an_event("only")] * size)

    assert (answer["accepted"], answer["duplicates"]) == (1, size - 1)
