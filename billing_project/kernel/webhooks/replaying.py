"""Send again, by hand: one delivery, or all that an endpoint was to be told in a time."""

from datetime import datetime

from django.db import connection, transaction
from django.db.models import QuerySet

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User, WebhookDelivery, WebhookEndpoint, WebhookEvent
from billing_project.kernel.webhooks.announcing import TEST, body_of, message_id

_MISSED = """
INSERT INTO webhook_delivery (event_id, endpoint_id, queued_at, attempts, next_try_at, failure)
SELECT e.id, p.id, %(at)s, 0, %(at)s, '' FROM webhook_event e, webhook_endpoint p
WHERE p.id = %(endpoint)s AND e.at >= %(since)s AND e.at < %(until)s
  AND (p.events @> to_jsonb(e.kind) OR p.events @> '["*"]')
  AND e.source_key <> e.message_id  -- Tests of other endpoints.
  AND e.body <> ''  -- Its words are forgotten.
ON CONFLICT DO NOTHING
"""


@transaction.atomic
def replay_delivery(*, delivery: WebhookDelivery, by: User, at: datetime) -> WebhookDelivery:
    """Send a delivery again that was taken or given up, under the same webhook-id.

    Raises:
        Conflict: it waits already, or its endpoint is switched off.
    """
    _refuse_disabled(delivery.endpoint)
    if not _again(WebhookDelivery.objects.filter(pk=delivery.pk), at):
        raise Conflict("it waits already")
    audit.record(by=by, at=at, action="replay_webhook", subject=delivery)
    delivery.refresh_from_db()
    return delivery


@transaction.atomic
def replay_range(
    *,
    endpoint: WebhookEndpoint,
    since: datetime,
    until: datetime,
    by: User,
    at: datetime,
    with_taken: bool = False,
) -> int:
    """Send again what an endpoint was not told of events in [since, until); return how many.

    What happened while it was switched off is sent too, if that was no longer than `KEPT`, or if
    anybody was told of it then; so is what it wanted only later.

    Args:
        with_taken: Send what it has taken as well.

    Raises:
        Conflict: it is switched off.
        Invalid: a time that ends before it begins.
    """
    _refuse_disabled(endpoint)
    if until <= since:
        raise Invalid("a time ends after it begins", field="until")
    rows = WebhookDelivery.objects.filter(
        endpoint=endpoint, event__at__gte=since, event__at__lt=until
    )
    count = _again(rows if with_taken else rows.filter(delivered_at=None), at)
    said: dict[str, int | datetime] = {
        "endpoint": endpoint.pk,
        "since": since,
        "until": until,
        "at": at,
    }
    with connection.cursor() as cursor:
        cursor.execute(_MISSED, said)
        count += int(cursor.rowcount)
    audit.record(
        by=by, at=at, action="replay_webhooks", subject=endpoint, since=since.isoformat(),
        until=until.isoformat(), count=count,
    )  # fmt: skip
    return count


@transaction.atomic
def send_test(*, endpoint: WebhookEndpoint, by: User, at: datetime) -> WebhookDelivery:
    """Queue an event for one endpoint that says nothing, to see whether it is taken.

    Raises:
        Conflict: it is switched off.
    """
    _refuse_disabled(endpoint)
    name = message_id()
    event = WebhookEvent.objects.create(
        message_id=name, kind=TEST, at=at, source_key=name,
        body=body_of(TEST, {"endpoint": str(endpoint.pk)}, at),
    )  # fmt: skip
    audit.record(by=by, at=at, action="test_webhook", subject=endpoint)
    return WebhookDelivery.objects.create(
        event=event, endpoint=endpoint, queued_at=at, next_try_at=at
    )


def _again(rows: QuerySet[WebhookDelivery], at: datetime) -> int:
    """Let rows that wait no more wait from now on, as if they had never been tried."""
    return rows.filter(next_try_at=None).update(
        next_try_at=at, attempts=0, delivered_at=None, given_up_at=None, status=None, failure=""
    )


def _refuse_disabled(endpoint: WebhookEndpoint) -> None:
    locked = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
    if locked.disabled_at is not None:
        raise Conflict("its endpoint is switched off: switch it on first", code="disabled")
