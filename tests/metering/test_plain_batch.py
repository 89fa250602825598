"""Plain batches by one question and two COPYs: what they store, capture would; all or nothing."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

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
from metering.services.plain import store_plain_batch
from metering.services.quarantine import dismiss_quarantined
from metering.services.retrying import CAUTION
from tests.metering.builders import a_customer, a_meter, an_event

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plain, "is_month_known", lambda _: True)  # `warm` makes it.
    monkeypatch.setattr(plain, "ASK_FEW", 1)
    _forget_caution()
    yield
    _forget_caution()


def _forget_caution() -> None:
    while CAUTION.is_due:
        CAUTION.spend()


@pytest.fixture
def key() -> ApiKey:
    customer = a_customer(AT)
    a_customer(AT, "beta")
    a_meter(AT)
    add_alias(external_id="acme-eu", customer=customer, reason="region", by=worker_user(), at=AT)
    capture_events(items=[an_event("warm", workspace="prod")], sender="app", at=AT)
    return create_api_key(name="app", scopes=["events:write"], at=AT)[0]


def _plain(key: ApiKey, *items: EventInput | BadItem) -> bool:
    return store_plain_batch(items=items, key_id=key.pk, at=AT)


def _stored() -> list[tuple[object, ...]]:
    fields = ("customer_id", "workspace__external_id", "event_name", "timestamp", "properties")
    found = MeterEvent.objects.exclude(identifier="warm").order_by("customer_id", "identifier")
    return list(found.values_list("identifier", *fields, "received_at"))


def _hashes() -> list[tuple[str, bytes, datetime]]:
    rows = EventIdentity.objects.order_by("customer_id", "identifier")
    return [
        (name, bytes(sha256), moment)
        for name, sha256, moment in rows.values_list("identifier", "content_sha256", "timestamp")
    ]


_GOOD = [
    an_event("new"),
    an_event("alias", customer="acme-eu"),
    an_event("new", customer="beta", properties={"tokens": "7", "note": "\u00fc\n,"}),
    an_event("timed", timestamp=AT - timedelta(hours=2, microseconds=7)),
    an_event("placed", workspace="prod"),
    an_event("elsewhere", workspace="unheard-of"),
]


def test_a_batch_with_what_was_dismissed_is_left(key: ApiKey) -> None:
    lost = an_event("lost", customer="nobody", timestamp=AT)
    capture_events(items=[lost], sender="app", at=AT)
    row = QuarantinedEvent.objects.get()
    dismiss_quarantined(ids=[row.pk], reason="a test", by=worker_user(), at=AT)
    a_customer(AT, "nobody")
    batches = EventBatch.objects.count()

    assert not _plain(key, *_GOOD, lost)
    assert EventBatch.objects.count() == batches
    assert not _stored()
    assert _plain(key, *_GOOD)


def test_capture_stores_the_same_rows(key: ApiKey) -> None:
    with transaction.atomic():
        assert not capture_events(items=_GOOD, sender="app", at=AT).results
        long = _stored(), _hashes()
        transaction.set_rollback(True)

    assert _plain(key, *_GOOD)

    assert (_stored(), _hashes()) == long
    batch = EventBatch.objects.latest("id")
    events = MeterEvent.objects.filter(batch_id=batch.pk)
    ids = sorted(events.values_list("id", flat=True))
    assert batch.event_count == len(ids) == len(_GOOD)
    assert (batch.first_event_id, batch.last_event_id) == (ids[0], ids[-1])
    first, last = AT - timedelta(hours=2, microseconds=7), AT
    assert (batch.first_timestamp, batch.last_timestamp) == (first, last)


@pytest.mark.parametrize(
    "odd",
    [
        an_event("warm", workspace="prod"),  # A duplicate.
        an_event("warm", properties={"tokens": "9"}),  # A conflict.
        an_event("new"),  # Twice in one batch.
        an_event("alias"),  # The same key under the customer's other name.
        an_event("who", customer="nobody"),
        an_event("what", event_name="unheard"),
        an_event("old", timestamp=AT - timedelta(days=60)),
        an_event("early", timestamp=AT + timedelta(days=1)),
        an_event("lacking", properties={}),
        an_event("wrong", properties={"tokens": "x"}),
        an_event("number", properties={"tokens": 5}),
        an_event("nul", properties={"tokens": "5", "note": "\x00"}),
        BadItem("is not readable"),
    ],
)
def test_one_odd_item_leaves_the_whole_batch_to_capture(
    key: ApiKey, odd: EventInput | BadItem
) -> None:
    assert not _plain(key, *_GOOD, odd)

    assert _stored() == []
    assert EventBatch.objects.count() == 1
    assert not QuarantinedEvent.objects.exists()


def test_after_a_known_event_batches_ask_first_for_a_while(key: ApiKey) -> None:
    assert not _plain(key, an_event("warm", workspace="prod"))

    assert CAUTION.is_due
    assert not _plain(key, *_GOOD)


def _revoke(key: ApiKey) -> None:
    revoke_api_key(key=key, by=worker_user(), reason="lost", at=AT)


def _change_meters(_: ApiKey) -> None:
    a_meter(AT, code="other", event_name="llm_request", value_property="images")


def _wait_for_better(_: ApiKey) -> None:
    capture_events(items=[an_event("poor", properties={})], sender="app", at=AT)


@pytest.mark.parametrize("change", [_revoke, _change_meters, _wait_for_better])
def test_what_changed_meanwhile_leaves_it_to_capture(
    key: ApiKey, change: Callable[[ApiKey], Any]
) -> None:
    change(key)

    assert not _plain(key, *_GOOD)
    assert _stored() == []


def test_a_month_that_was_archived_leaves_it_to_capture(
    key: ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "is_month_known", lambda _: False)

    assert not _plain(key, *_GOOD)
