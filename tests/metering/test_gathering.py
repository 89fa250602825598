"""Single events that arrive together: one transaction, each its own answer, none forgotten."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from django.db import DataError, InterfaceError, OperationalError, connection
from rest_framework.exceptions import AuthenticationFailed

from billing_project.kernel.keys import create_api_key, revoke_api_key
from billing_project.kernel.models import ApiKey
from billing_project.kernel.users import worker_user
from metering.api.gathering import Gatherer, Item
from metering.judging import Status
from metering.models import EventBatch, MeterEvent
from metering.services.capture import CaptureResult, ItemResult, capture_events
from tests.metering.builders import a_customer, a_meter, an_event

pytestmark = pytest.mark.django_db(transaction=True)
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SENDERS = 8


@pytest.fixture
def key() -> ApiKey:
    a_customer(AT)
    a_meter(AT)
    return create_api_key(name="app", scopes=["events:write"], at=AT)[0]


class _Held:
    """A capture whose first call waits until the others have come."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go_on = threading.Event()

    def __call__(self, items: Sequence[Item], sender: str, at: datetime) -> CaptureResult:
        if not self.sizes:
            self.sizes.append(len(items))
            assert self.go_on.wait(5)
        else:
            self.sizes.append(len(items))
        return capture_events(items=items, sender=sender, at=at)


def _store(gatherer: Gatherer, item: Item, key: ApiKey) -> ItemResult | None:
    try:
        return gatherer.store(item, key)
    finally:
        connection.close()


def _together(gatherer: Gatherer, held: _Held, items: list[Item], key: ApiKey) -> list[Status]:
    """Send the first item alone; the rest comes while it is being stored."""
    with ThreadPoolExecutor(len(items)) as pool:
        first = pool.submit(_store, gatherer, items[0], key)
        while not held.sizes:
            pass
        rest = [pool.submit(_store, gatherer, item, key) for item in items[1:]]
        while len(gatherer._waiting) < len(items) - 1:
            pass
        held.go_on.set()
        results = [future.result(10) for future in (first, *rest)]
    return [result.status if result else Status.ACCEPTED for result in results]


def test_what_arrives_together_is_stored_together(key: ApiKey) -> None:
    held = _Held()
    items: list[Item] = [an_event(f"e{n}") for n in range(SENDERS)]

    statuses = _together(Gatherer(held), held, items, key)

    assert statuses == [Status.ACCEPTED] * SENDERS
    assert held.sizes == [1, SENDERS - 1]
    assert (MeterEvent.objects.count(), EventBatch.objects.count()) == (SENDERS, 2)


def test_each_request_gets_its_own_answer(key: ApiKey) -> None:
    held = _Held()
    items: list[Item] = [
        an_event("e1"),
        an_event("e1"),
        an_event("e1", properties={"tokens": "7"}),
        an_event("e2", properties={"tokens": "x"}),
        an_event("e3", customer="nobody"),
        an_event("e4"),
    ]

    statuses = _together(Gatherer(held), held, items, key)

    assert statuses == [
        Status.ACCEPTED, Status.DUPLICATE, Status.CONFLICT, Status.REJECTED, Status.QUARANTINED,
        Status.ACCEPTED,
    ]  # fmt: skip


def test_a_database_that_fails_fails_everybody_who_waits(key: ApiKey) -> None:
    def capture(items: Sequence[Item], sender: str, at: datetime) -> CaptureResult:
        raise OperationalError("down")

    with pytest.raises(OperationalError):
        Gatherer(capture).store(an_event(), key)


@pytest.mark.parametrize("error", [ValueError, DataError])
def test_one_event_that_fails_costs_only_itself(key: ApiKey, error: type[Exception]) -> None:
    calls: list[int] = []

    def capture(items: Sequence[Item], sender: str, at: datetime) -> CaptureResult:
        calls.append(len(items))
        if any(item.identifier == "bad" for item in items):
            raise error("bad")
        return capture_events(items=items, sender=sender, at=at)

    held = _Held()
    gatherer = Gatherer(held)
    gatherer._capture = lambda items, sender, at: (
        held(items, sender, at) if not held.sizes else capture(items, sender, at)
    )
    items: list[Item] = [an_event("e0"), an_event("e1"), an_event("bad")]

    with pytest.raises(error, match="bad"):
        _together(gatherer, held, items, key)

    assert sorted(calls) == [1, 1, 2]
    stored = MeterEvent.objects.order_by("identifier").values_list("identifier", flat=True)
    assert list(stored) == ["e0", "e1"]


def test_a_revoked_key_ends_at_once_though_it_is_remembered(key: ApiKey) -> None:
    gatherer = Gatherer()
    assert gatherer.store(an_event("e1"), key) is None

    revoke_api_key(key=key, by=worker_user(), reason="lost", at=AT)

    with pytest.raises(AuthenticationFailed):
        gatherer.store(an_event("e2"), key)
    assert MeterEvent.objects.count() == 1


def test_those_who_came_along_with_a_thread_that_was_cut_off_are_told(key: ApiKey) -> None:
    held = _Held()
    gatherer = Gatherer(held)

    def capture(items: Sequence[Item], sender: str, at: datetime) -> CaptureResult:
        if held.sizes:
            raise SystemExit
        return held(items, sender, at)

    gatherer._capture = capture
    items: list[Item] = [an_event("e0"), an_event("e1"), an_event("e2")]

    with pytest.raises((SystemExit, InterfaceError)):
        _together(gatherer, held, items, key)
    assert not gatherer._waiting
