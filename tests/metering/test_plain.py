"""Plain events by one statement: what it stores, capture would; what it leaves, it leaves whole."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from billing_project.kernel.keys import create_api_key, revoke_api_key
from billing_project.kernel.models import ApiKey
from billing_project.kernel.users import worker_user
from metering.events import BadItem, EventInput
from metering.models import EventBatch, EventIdentity, MeterEvent, QuarantinedEvent
from metering.services import plain
from metering.services.capture import capture_events
from metering.services.customers import add_alias
from metering.services.plain import store_plain_events
from metering.services.quarantine import dismiss_quarantined
from tests.metering.builders import a_customer, a_meter, an_event

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> ApiKey:
    monkeypatch.setattr(plain, "is_month_known", lambda _: True)  # `warm` makes it.
    customer = a_customer(AT)
    a_meter(AT)
    add_alias(external_id="acme-eu", customer=customer, reason="region", by=worker_user(), at=AT)
    _capture(an_event("warm", workspace="prod"))
    return create_api_key(name="app", scopes=["events:write"], at=AT)[0]


def _capture(*items: EventInput | BadItem) -> list[int]:
    result = capture_events(items=items, sender="app", at=AT)
    return [one.index for one in result.results]


def _plain(key: ApiKey, *items: EventInput | BadItem) -> list[int]:
    return sorted(store_plain_events(items=items, key_ids=[key.pk] * len(items), at=AT))


def _stored() -> list[tuple[object, ...]]:
    fields = ("customer_id", "workspace__external_id", "event_name", "timestamp", "properties")
    found = MeterEvent.objects.exclude(identifier="warm").order_by("identifier")
    return list(found.values_list("identifier", *fields, "received_at"))


_MIXED: Sequence[EventInput | BadItem] = [
    an_event("new"),
    an_event("timed", timestamp=AT - timedelta(hours=2)),
    an_event("placed", workspace="prod"),
    an_event("warm", workspace="prod"),  # A duplicate.
    an_event("warm", workspace="prod", properties={"tokens": "9"}),  # A conflict.
    an_event("new"),  # Twice in one group.
    an_event("elsewhere", workspace="unheard-of"),
    an_event("alias", customer="acme-eu"),
    an_event("who", customer="nobody"),
    an_event("what", event_name="unheard"),
    an_event("old", timestamp=AT - timedelta(days=60)),
    an_event("lacking", properties={}),
    an_event("wrong", properties={"tokens": "x"}),
    an_event("number", properties={"tokens": 5}),
    BadItem("is not readable"),
]


def test_new_plain_events_are_stored_and_all_else_is_left(key: ApiKey) -> None:
    assert _plain(key, *_MIXED) == [0, 1, 2]

    assert [row[0] for row in _stored()] == ["new", "placed", "timed"]
    assert not QuarantinedEvent.objects.exists()
    batch = EventBatch.objects.latest("id")
    events = MeterEvent.objects.filter(batch_id=batch.pk)
    assert (batch.event_count, events.count()) == (3, 3)
    assert (batch.first_timestamp, batch.last_timestamp) == (AT - timedelta(hours=2), AT)
    ids = sorted(events.values_list("id", flat=True))
    assert (batch.first_event_id, batch.last_event_id) == (ids[0], ids[-1])


def test_capture_stores_the_same_rows(key: ApiKey) -> None:
    with transaction.atomic():
        _capture(*_MIXED[:3])
        long = _stored()
        hashes = list(EventIdentity.objects.order_by("identifier").values_list("content_sha256"))
        transaction.set_rollback(True)

    _plain(key, *_MIXED[:3])

    assert _stored() == long
    assert hashes == list(
        EventIdentity.objects.order_by("identifier").values_list("content_sha256")
    )


def test_what_was_left_gets_its_verdict_from_capture(key: ApiKey) -> None:
    stored = _plain(key, *_MIXED)
    rest = [item for n, item in enumerate(_MIXED) if n not in stored]

    refused = _capture(*rest)

    accepted = [item.identifier for n, item in enumerate(rest) if n not in refused]
    assert accepted == ["elsewhere", "alias", "number"]


def test_nothing_is_stored_for_a_key_that_was_revoked(key: ApiKey) -> None:
    revoke_api_key(key=key, by=worker_user(), reason="lost", at=AT)

    assert _plain(key, an_event("new")) == []
    assert _stored() == []


def test_what_was_dismissed_is_left_and_all_else_is_stored(key: ApiKey) -> None:
    lost = an_event("e", customer="nobody", timestamp=AT)
    _capture(lost)
    dismiss_quarantined(
        ids=[QuarantinedEvent.objects.get().pk], reason="a test", by=worker_user(), at=AT
    )
    a_customer(AT, "nobody")
    changed = an_event("e", customer="nobody", timestamp=AT, properties={"tokens": "7"})

    assert _plain(key, lost) == []
    assert _plain(key, lost, an_event("e"), changed) == [1, 2]
    assert len(_stored()) == 2


def test_nothing_is_stored_once_a_version_changed(key: ApiKey) -> None:
    a_meter(AT, code="other", event_name="llm_request", value_property="images")

    assert _plain(key, an_event("new")) == []
    assert _capture(an_event("new")) == [0]  # The new meter's value is missing.


def test_nothing_is_stored_while_a_report_in_quarantine_waits_for_a_better_one(
    key: ApiKey,
) -> None:
    _capture(an_event("poor", properties={}))

    assert _plain(key, an_event("poor")) == []
    assert _capture(an_event("poor")) == []
    assert QuarantinedEvent.objects.get().state == "dismissed"
