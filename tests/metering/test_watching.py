"""Lag beyond its limit: one episode, one error, one mail, whoever looks and however often."""

import logging
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import TestCase

from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from metering.models import LagEpisode
from metering.services import watching
from metering.services.aggregate import aggregate_batches
from metering.services.watching import acknowledge_lag
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


def watch_lag(*, at: datetime) -> LagEpisode | None:
    """Look at the lag outside of any transaction, as everybody does."""
    with TestCase.captureOnCommitCallbacks(execute=True):
        return watching.watch_lag(at=at)


@pytest.fixture
def waiting(at: datetime, settings: Any) -> None:
    """Leave an event that nobody aggregates."""
    settings.ALERT_EMAILS = ["oncall@example.com"]
    a_meter(at)
    a_customer(at)
    send(at, an_event())


def test_within_a_minute_nothing_is_wrong(waiting: None, at: datetime) -> None:
    assert watch_lag(at=at + 60 * SECOND) is None
    assert not LagEpisode.objects.exists()


def test_an_episode_is_opened_logged_and_mailed_once(
    waiting: None, at: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for seconds in (61, 90, 75):
            watch_lag(at=at + seconds * SECOND)

    episode = LagEpisode.objects.get()
    assert (episode.opened_at, episode.closed_at) == (at + 61 * SECOND, None)
    assert (episode.worst_lag_seconds, episode.worst_at) == (Decimal(90), at + 90 * SECOND)
    assert [record.message for record in caplog.records] == ["aggregation lags"]
    (message,) = mail.outbox
    assert message.to == ["oncall@example.com"]
    assert "61 seconds behind" in message.body


def test_it_closes_by_itself_and_the_next_one_is_another(waiting: None, at: datetime) -> None:
    watch_lag(at=at + 100 * SECOND)
    aggregate_batches(at=at + 110 * SECOND)

    assert watch_lag(at=at + 120 * SECOND) is None
    send(at + 200 * SECOND, an_event("e2"))
    second = watch_lag(at=at + 300 * SECOND)

    first = LagEpisode.objects.earliest("id")
    assert (first.closed_at, first.worst_lag_seconds) == (at + 120 * SECOND, Decimal(100))
    assert second is not None
    assert second != first
    assert len(mail.outbox) == 2


def test_a_mail_that_fails_is_sent_by_the_next_look(
    waiting: None, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> int:
        raise ConnectionRefusedError("no mail server")

    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", refuse)
        watch_lag(at=at + 100 * SECOND)
    untold = LagEpisode.objects.get().told_at
    watch_lag(at=at + 160 * SECOND)

    assert untold is None
    assert LagEpisode.objects.get().told_at == at + 160 * SECOND
    assert len(mail.outbox) == 1


def test_who_dies_while_sending_leaves_it_to_the_next_look(
    waiting: None, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", die)
        with pytest.raises(KeyboardInterrupt):
            watch_lag(at=at + 100 * SECOND)
    assert LagEpisode.objects.get().told_at is None

    watch_lag(at=at + 160 * SECOND)

    assert LagEpisode.objects.get().told_at == at + 160 * SECOND
    assert len(mail.outbox) == 1


def test_somebody_puts_a_name_to_it_once(
    waiting: None, engineer: User, support: User, at: datetime
) -> None:
    episode = watch_lag(at=at + 100 * SECOND)
    assert episode is not None
    with pytest.raises(Invalid):
        acknowledge_lag(episode=episode, note=" ", by=engineer, at=at)

    acknowledge_lag(episode=episode, note="restarting the worker", by=engineer, at=at)

    with pytest.raises(Conflict):
        acknowledge_lag(episode=episode, note="me too", by=support, at=at)
    episode.refresh_from_db()
    assert (episode.acknowledged_by, episode.note) == (engineer, "restarting the worker")
