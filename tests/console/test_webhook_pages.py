"""Webhooks in the back office: made with their secret, switched off and on, sent again."""

from datetime import timedelta

import pytest
from django.urls import reverse

from billing_project.console.waiting import queue_of
from billing_project.kernel import clock
from billing_project.kernel.models import User, WebhookDelivery, WebhookEndpoint
from billing_project.kernel.webhooks.announcing import TEST, announce
from tests.console.backoffice import action_url, client_of, send, told, url_above_list

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.com/"


def test_an_engineer_runs_an_endpoint(engineer: User) -> None:
    client = client_of(engineer)

    made = send(
        client, url_above_list(WebhookEndpoint, "new_endpoint"), url=URL, owner=engineer.pk,
        events="*",
    )  # fmt: skip

    assert "give it to the receiver now: whsec_" in told(made)
    endpoint = WebhookEndpoint.objects.get()
    assert (endpoint.url, endpoint.events, endpoint.owner) == (URL, ["*"], engineer)
    assert "whsec_" in told(send(client, action_url(endpoint, "rotate"), reason="leaked"))
    bad = send(client, action_url(endpoint, "edit"), url="http://inside/", events="*")
    assert (bad.status_code, b"https://" in bad.content) == (422, True)
    send(client, action_url(endpoint, "send_test"))
    assert WebhookDelivery.objects.get().state == "waits"
    send(client, action_url(endpoint, "disable"), reason="moving")
    send(client, action_url(endpoint, "enable"), reason="moved")
    at = clock.now()
    announce(TEST, key="one", data={"endpoint": "1"}, at=at)
    WebhookDelivery.objects.update(next_try_at=None, given_up_at=at, failure="500")
    waits = {item.title for item in queue_of(engineer, at) if item.can}
    assert waits == {f"2 webhooks to {URL} given up"}
    day = {"since_0": at.date(), "since_1": "00:00", "until_1": "00:00"}
    again = send(
        client, action_url(endpoint, "replay"), until_0=at.date() + timedelta(days=1), **day
    )
    assert told(again) == "success: Sent again: 2."
    page = client.get(reverse("admin:kernel_webhookdelivery_changelist") + "?state=next_try_at")
    assert page.content.decode().count("webhook.test") >= 2
    WebhookEndpoint.objects.update(
        failing_since=at, disabled_at=at, disabled_reason="it answered 410: gone"
    )
    assert f"Nothing is sent to {URL}" in {item.title for item in queue_of(engineer, at)}
