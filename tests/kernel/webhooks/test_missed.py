"""What happens while an endpoint is switched off is kept, and sent once it is mended."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_project.kernel.models import User, WebhookDelivery
from billing_project.kernel.webhooks.announcing import TEST, announce
from billing_project.kernel.webhooks.endpoints import (
    Wish,
    create_endpoint,
    disable_endpoint,
    enable_endpoint,
)
from billing_project.kernel.webhooks.replaying import replay_range

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.django_db
def test_what_the_only_endpoint_missed_is_sent_once_it_is_mended(engineer: User) -> None:
    wish = Wish("https://receiver.example/hooks", [TEST], engineer)
    endpoint, _ = create_endpoint(wish=wish, by=engineer, at=AT)
    change: dict[str, Any] = {"endpoint": endpoint, "by": engineer}
    disable_endpoint(reason="it answered 410: gone", at=AT, **change)
    announce(TEST, key="missed", data={}, at=AT + DAY)
    announce(TEST, key="too long ago", data={}, at=AT + 30 * DAY)
    assert not WebhookDelivery.objects.exists()
    enable_endpoint(reason="mended", at=AT + 31 * DAY, **change)

    count = replay_range(since=AT, until=AT + 31 * DAY, at=AT + 31 * DAY, **change)

    [delivery] = WebhookDelivery.objects.select_related("event")
    assert (count, delivery.event.source_key, delivery.state) == (1, "missed", "waits")
