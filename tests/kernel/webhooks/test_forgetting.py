"""What was sent long ago is forgotten; what waits, and that it happened, is not."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, transaction
from django.db.models import F

from billing_project.kernel.models import (
    AuditEntry,
    User,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from billing_project.kernel.webhooks.announcing import TEST, announce
from billing_project.kernel.webhooks.endpoints import Wish, create_endpoint
from billing_project.kernel.webhooks.forgetting import forget_webhooks
from billing_project.kernel.webhooks.replaying import replay_range

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = AT + 90 * DAY

pytestmark = pytest.mark.django_db


@pytest.fixture
def endpoint(engineer: User) -> WebhookEndpoint:
    """Return an endpoint that was told of four things: two taken, one given up, one waits."""
    wish = Wish("https://receiver.example/hooks", [TEST], engineer)
    endpoint, _ = create_endpoint(wish=wish, by=engineer, at=AT - DAY)
    for name in ("taken", "taken now", "given up", "waits"):
        announce(TEST, key=name, data={"name": name}, at=AT - DAY)
    ended = {"next_try_at": None, "attempts": 1, "last_tried_at": AT - DAY}
    _of("taken").update(delivered_at=AT - DAY, **ended)
    _of("taken now").update(delivered_at=AT, **ended)
    _of("given up").update(given_up_at=AT - DAY, **ended)
    return endpoint


def _of(key: str):  # type: ignore[no-untyped-def]
    return WebhookDelivery.objects.filter(event__source_key=key)


def _left() -> set[str]:
    return set(WebhookDelivery.objects.values_list("event__source_key", flat=True))


def _said() -> set[str]:
    return set(WebhookEvent.objects.exclude(body="").values_list("source_key", flat=True))


def test_what_ended_long_ago_goes_and_what_waits_stays(
    endpoint: WebhookEndpoint, engineer: User
) -> None:
    assert forget_webhooks(days=0, by=engineer, at=LATER) == 0
    assert forget_webhooks(days=90, by=engineer, at=LATER, is_over=lambda: True) == 0

    # Two deliveries and the words of their two events, one row at a time.
    assert forget_webhooks(days=90, by=engineer, at=LATER, at_once=1) == 4

    assert _left() == _said() == {"taken now", "waits"}
    assert WebhookEvent.objects.count() == 4
    entries = AuditEntry.objects.filter(action="forget_webhooks")
    assert [entry.facts["count"] for entry in entries] == [1, 1]
    assert forget_webhooks(days=90, by=engineer, at=LATER) == 0


def test_what_was_forgotten_is_neither_told_again_nor_sent_again(
    endpoint: WebhookEndpoint, engineer: User
) -> None:
    forget_webhooks(days=90, by=engineer, at=LATER)

    announce(TEST, key="taken", data={}, at=LATER)
    span = {"since": AT - 9 * DAY, "until": LATER, "with_taken": True}
    count = replay_range(endpoint=endpoint, by=engineer, at=LATER, **span)  # type: ignore[arg-type]

    assert count == 1  # What was taken now; what waits already waits.
    assert _left() == {"taken now", "waits"}


@pytest.mark.parametrize(
    "change",
    [
        lambda: _of("waits").delete(),
        lambda: WebhookEvent.objects.filter(source_key="taken now").update(body=""),
        lambda: WebhookEvent.objects.filter(source_key="taken").update(body="other"),
        lambda: WebhookEvent.objects.filter(source_key="taken").delete(),
        lambda: _of("taken now").update(queued_at=F("queued_at") - DAY),
    ],
)
def test_the_database_refuses_to_forget_more(  # type: ignore[no-untyped-def]
    endpoint: WebhookEndpoint, engineer: User, change
) -> None:
    forget_webhooks(days=90, by=engineer, at=LATER)

    with pytest.raises(DatabaseError), transaction.atomic():
        change()
