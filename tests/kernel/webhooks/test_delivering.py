"""What was announced reaches its endpoints at least once, each time under the same webhook-id."""

import base64
import hashlib
import hmac
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import (
    User,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookSecret,
)
from billing_project.kernel.users import worker_user
from billing_project.kernel.webhooks import delivering
from billing_project.kernel.webhooks.announcing import KEPT, TEST, announce
from billing_project.kernel.webhooks.delivering import send_due_webhooks, tell_of_disabled
from billing_project.kernel.webhooks.endpoints import (
    OVERLAP,
    Wish,
    change_endpoint,
    create_endpoint,
    disable_endpoint,
    enable_endpoint,
    rotate_secret,
)
from billing_project.kernel.webhooks.replaying import replay_delivery, replay_range, send_test
from billing_project.kernel.webhooks.schedule import MOST_TRIES, PATIENCE
from tests.invoicing.builders import at_once
from tests.kernel.webhooks.receiver import Receiver, door_to, receiving

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.WEBHOOKS_TO_LOOPBACK = True


def _endpoint(url: str, owner: User, *events: str) -> tuple[WebhookEndpoint, bytes]:
    wish = Wish(url, events or (TEST,), owner)
    endpoint, text = create_endpoint(wish=wish, by=owner, at=AT)
    return endpoint, base64.b64decode(text.removeprefix("whsec_"))


def _happens(key: str = "one", at: datetime = AT) -> None:
    announce(TEST, key=key, data={"endpoint": key}, at=at)


def _send(at: datetime = AT) -> int:
    return send_due_webhooks(by=worker_user(), now=lambda: at, way=door_to())


def _one() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def _proven(secret: bytes, headers: dict[str, str], body: str) -> bool:
    """Check a signature as a receiver does, by code of its own."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    wanted = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in headers["webhook-signature"].split(" ")


@pytest.mark.django_db
def test_what_happened_is_told_once_signed_and_word_by_word(
    receiver: Receiver, engineer: User
) -> None:
    _, secret = _endpoint(receiver.url, engineer)
    _happens()
    _happens()

    assert [_send(), _send()] == [1, 0]

    [(headers, body)] = receiver.got
    assert json.loads(body) == {
        "type": "webhook.test", "timestamp": "2026-11-20T12:00:00Z", "data": {"endpoint": "one"},
    }  # fmt: skip
    assert headers["webhook-id"] == WebhookEvent.objects.get().message_id
    assert headers["webhook-timestamp"] == str(int(AT.timestamp()))
    assert _proven(secret, headers, body)
    assert (_one().state, _one().status, _one().attempts) == ("delivered", 204, 1)


@pytest.mark.django_db
def test_only_who_wants_it_is_told_and_nothing_is_written_where_nobody_does(
    receiver: Receiver, engineer: User
) -> None:
    _happens("before anybody listens")
    off, _ = _endpoint(f"{receiver.url}?off", engineer, "*")
    disable_endpoint(endpoint=off, reason="not now", by=engineer, at=AT - KEPT)
    _happens("nobody is told")
    assert not WebhookEvent.objects.exists()
    everything, _ = _endpoint(f"{receiver.url}?all", engineer, "*")

    _happens()

    assert [one.endpoint for one in WebhookDelivery.objects.all()] == [everything]


@pytest.mark.django_db
def test_an_event_falls_with_its_cause(receiver: Receiver, engineer: User) -> None:
    _endpoint(receiver.url, engineer)
    with transaction.atomic():
        _happens()
        transaction.set_rollback(True)

    assert not WebhookEvent.objects.exists()


@pytest.mark.django_db
def test_a_failed_try_waits_and_the_next_one_has_the_same_id(
    receiver: Receiver, engineer: User
) -> None:
    endpoint, _ = _endpoint(receiver.url, engineer)
    _happens()
    receiver.status, receiver.body = 503, b"come\x00 back\nlater"

    assert _send() == 0
    endpoint.refresh_from_db()
    assert (_one().state, _one().status, _one().failure) == ("waits", 503, "503 come back later")
    assert (_one().next_try_at, endpoint.failing_since) == (AT + timedelta(seconds=5), AT)
    receiver.status = 200
    assert _send(AT + timedelta(seconds=4)) == 0
    assert _send(AT + timedelta(seconds=5)) == 1

    endpoint.refresh_from_db()
    assert (_one().state, _one().failure, endpoint.failing_since) == ("delivered", "", None)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in receiver.got}) == 2


@pytest.mark.django_db
def test_after_three_days_a_delivery_is_given_up_and_can_be_sent_again(
    receiver: Receiver, engineer: User
) -> None:
    _endpoint(receiver.url, engineer)
    _happens()
    receiver.status = 500
    at = AT
    for _ in range(MOST_TRIES):
        _send(at)
        at = _one().next_try_at or at
    assert (_one().state, _one().attempts) == ("given up", MOST_TRIES)
    assert timedelta(days=3) < at - AT < timedelta(days=4)

    receiver.status = 200
    replay_delivery(delivery=_one(), by=engineer, at=at)
    with pytest.raises(Conflict, match="waits already"):
        replay_delivery(delivery=_one(), by=engineer, at=at)
    assert _send(at) == 1
    replay_delivery(delivery=_one(), by=engineer, at=at)
    assert _send(at) == 1
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


@pytest.mark.django_db
def test_a_time_is_sent_again_with_what_happened_while_it_was_off(
    receiver: Receiver, engineer: User
) -> None:
    _endpoint(f"{receiver.url}?other", engineer)
    endpoint, _ = _endpoint(receiver.url, engineer)
    for number in range(3):
        _happens(str(number), AT + number * DAY)
    disable_endpoint(endpoint=endpoint, reason="away", by=engineer, at=AT + 2 * DAY)
    with pytest.raises(Conflict, match="switched off"):
        replay_range(endpoint=endpoint, since=AT, until=AT + DAY, by=engineer, at=AT)
    _happens("3", AT + 3 * DAY)
    enable_endpoint(endpoint=endpoint, reason="back", by=engineer, at=AT + 4 * DAY)

    said: dict[str, Any] = {"endpoint": endpoint, "by": engineer, "at": AT + 4 * DAY}
    assert replay_range(since=AT + DAY, until=AT + 3 * DAY, **said) == 2
    assert replay_range(since=AT, until=AT + 9 * DAY, **said) == 2  # The first, and the missed one.
    assert _send(AT + 4 * DAY) == 8
    assert replay_range(since=AT, until=AT + 9 * DAY, **said) == 0
    assert replay_range(since=AT, until=AT + DAY, with_taken=True, **said) == 1
    with pytest.raises(Invalid):
        replay_range(since=AT, until=AT, **said)


@pytest.mark.django_db
def test_who_takes_nothing_for_days_is_switched_off_and_its_owner_told_once(
    receiver: Receiver, engineer: User
) -> None:
    User.objects.filter(pk=engineer.pk).update(email="eli@seller.example")
    endpoint, _ = _endpoint(receiver.url, engineer)
    receiver.status = 500
    _happens("first")
    _send()
    _happens("second")
    _send(AT + PATIENCE)

    endpoint.refresh_from_db()
    assert endpoint.disabled_reason == "nothing was taken since 2026-11-20 12:00 UTC"
    assert {one.state for one in WebhookDelivery.objects.all()} == {"given up"}
    for _ in range(2):
        tell_of_disabled(at=AT + PATIENCE)
    [sent] = mail.outbox
    assert sent.to == ["eli@seller.example"]
    assert receiver.url in sent.body
    before = len(receiver.got)
    _happens("third")
    assert (_send(AT + 9 * DAY), len(receiver.got)) == (0, before)


@pytest.mark.django_db
def test_gone_is_taken_at_its_word(receiver: Receiver, engineer: User) -> None:
    endpoint, _ = _endpoint(receiver.url, engineer)
    receiver.status = 410
    _happens()

    _send()

    endpoint.refresh_from_db()
    assert endpoint.state == "disabled"


@pytest.mark.django_db
def test_one_that_fails_holds_up_nobody_and_rests(receiver: Receiver, engineer: User) -> None:
    with receiving() as broken:
        broken.status = 500
        _endpoint(broken.url, engineer)
        _endpoint(receiver.url, engineer)
        for number in range(20):
            _happens(str(number))

        assert _send() == 20

        assert (len(receiver.got), len(broken.got)) == (20, 8)


@pytest.mark.django_db
def test_both_secrets_sign_for_a_day_and_only_nonces_are_stored(
    receiver: Receiver, engineer: User, settings: Any
) -> None:
    endpoint, old = _endpoint(receiver.url, engineer)
    text = rotate_secret(endpoint=endpoint, by=engineer, at=AT)
    new = base64.b64decode(text.removeprefix("whsec_"))
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 9
    for key, at in (("first", AT), ("second", AT + OVERLAP)):
        _happens(key, at)
        assert _send(at) == 1

    first, second = receiver.got
    assert [_proven(old, *first), _proven(new, *first)] == [True, True]
    assert [_proven(old, *second), _proven(new, *second)] == [False, True]
    stored = str(list(WebhookSecret.objects.values()))
    assert text not in stored
    assert base64.b64encode(new).decode() not in stored
    for _ in range(4):
        rotate_secret(endpoint=endpoint, by=engineer, at=AT + OVERLAP)
    with pytest.raises(Conflict, match="wait until one ends"):
        rotate_secret(endpoint=endpoint, by=engineer, at=AT + OVERLAP)


@pytest.mark.django_db
def test_a_secret_whose_key_is_gone_is_said_so(
    receiver: Receiver, engineer: User, settings: Any
) -> None:
    _endpoint(receiver.url, engineer)
    settings.SECRET_KEY = "another" * 9
    _happens()

    assert (_send(), receiver.got) == (0, [])
    assert "rotate it" in _one().failure


@pytest.mark.django_db
def test_an_endpoint_is_refused_where_it_is_none(engineer: User, settings: Any) -> None:
    settings.WEBHOOKS_TO_LOOPBACK = False
    url = "https://hooks.example.com/"
    for wish in (
        Wish("http://hooks.example.com/", [TEST], engineer),
        Wish(url, [], engineer),
        Wish(url, ["invoice.lost"], engineer),
        Wish(url, ["*", TEST], engineer),
        Wish(url, [TEST], worker_user()),
    ):
        with pytest.raises(Invalid):
            create_endpoint(wish=wish, by=engineer, at=AT)
    endpoint, _ = create_endpoint(wish=Wish(url, [TEST], engineer), by=engineer, at=AT)
    with pytest.raises(Conflict):
        create_endpoint(wish=Wish(url, ["*"], engineer), by=engineer, at=AT)
    changed = change_endpoint(
        endpoint=endpoint, wish=Wish(url, ["*"], engineer), by=engineer, at=AT
    )
    assert changed.events == ["*"]


@pytest.mark.django_db
def test_a_test_goes_to_its_endpoint_alone(receiver: Receiver, engineer: User) -> None:
    _endpoint(f"{receiver.url}?other", engineer, "*")
    endpoint, _ = _endpoint(receiver.url, engineer, "invoice.paid")

    send_test(endpoint=endpoint, by=engineer, at=AT)

    assert _send() == 1
    assert _one().endpoint == endpoint


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    ["webhook_event SET body = 'x'", "webhook_delivery SET event_id = 0",
     "webhook_secret SET nonce = 'x'", "webhook_endpoint SET created_at = now()"],
)  # fmt: skip
def test_what_was_told_is_not_edited(receiver: Receiver, engineer: User, change: str) -> None:
    _endpoint(receiver.url, engineer)
    _happens()

    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {change}")


def _race(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> int:
    """Let two workers find one delivery before either takes it; return how often it was sent."""
    found = threading.Barrier(2, timeout=5)
    take: Callable[..., Any] = delivering._claim

    def late(delivery: WebhookDelivery, at: datetime) -> Any:
        if delivery.attempts == 0:
            found.wait()
        return take(delivery, at)

    monkeypatch.setattr(delivering, "_claim", late)
    at_once(_send, _send)
    return len(receiver.got)


@pytest.mark.django_db(transaction=True)
def test_two_workers_send_it_once(
    receiver: Receiver, engineer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    _endpoint(receiver.url, engineer)
    worker_user()
    _happens()

    assert _race(monkeypatch, receiver) == 1


@pytest.mark.django_db(transaction=True)
def test_without_the_claim_two_workers_send_it_twice(
    receiver: Receiver, engineer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    _endpoint(receiver.url, engineer)
    worker_user()
    _happens()

    def anybody(delivery: WebhookDelivery, at: datetime) -> bool:
        row = WebhookDelivery.objects.filter(pk=delivery.pk)
        return bool(row.update(attempts=1, last_tried_at=at))

    monkeypatch.setattr(delivering, "_is_ours", anybody)

    assert _race(monkeypatch, receiver) == 2


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_before_it_wrote_the_answer_sends_it_again_under_the_same_id(
    receiver: Receiver, engineer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    _endpoint(receiver.url, engineer)
    worker_user()
    _happens()
    child = os.fork()
    if not child:
        inherited, connection.connection = connection.connection, None  # The parent's: untouched.
        monkeypatch.setattr(delivering, "_write", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        _send()
        os._exit(int(inherited is None))
    _, status = os.waitpid(child, 0)

    assert os.WTERMSIG(status) == signal.SIGKILL
    assert len(receiver.got) == 1
    assert _send(AT + timedelta(minutes=4)) == 0  # Its claim stands.
    assert _send(AT + timedelta(minutes=5)) == 1
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert _one().attempts == 2
