"""Usage without a rate: one episode and one mail a model, closed by the rate that takes it up."""

import logging
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import DatabaseError, connection, transaction
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext

import credits.tasks
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from credits.models import RatedUsage, UnratedEpisode
from credits.selectors.unrated import Reason, unrated_usage, usage_without_rate
from credits.services.rates import RateInput
from credits.services.watching import acknowledge_unrated, watch_unrated
from tests.credits.builders import DAY_10, NOVEMBER, Shop, make_customer, rate

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def people(settings: Any) -> None:
    settings.PRODUCT_EMAILS = ["product@example.com"]


@pytest.fixture
def priced(shop: Shop) -> Shop:
    """Return a shop that has rates for the model `small` only."""
    shop.version(_rates("small"), NOVEMBER.start + timedelta(days=1))
    return shop


def _rates(*models: str) -> list[RateInput]:
    return [rate(meter, "0.5", model=m) for meter in ("input", "output") for m in models]


def work(at: datetime, settings: Any) -> list[UnratedEpisode]:
    """Do what the worker does: rate, then look, outside of any transaction."""
    settings.BILLING_CLOCK = at.isoformat()
    credits.tasks.rate()
    with TestCase.captureOnCommitCallbacks(execute=True):
        credits.tasks.watch_unrated()
    return list(UnratedEpisode.objects.order_by("id"))


def test_a_model_in_traffic_without_a_rate_is_told_and_waits(
    priced: Shop, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    priced.use(input="3", model="next")
    priced.use(DAY_10 + timedelta(hours=2), input="4", model="next")
    priced.use(input="5", model="small")

    with caplog.at_level(logging.ERROR):
        for minute in range(3):
            work(priced.at + minute * MINUTE, settings)

    episode = UnratedEpisode.objects.get()
    assert (episode.meter.code, episode.model) == ("input", "next")
    assert (episode.window_count, episode.quantity, episode.customer_count) == (2, Decimal(7), 1)
    assert episode.dimensions == {"model": "next"}
    assert episode.first_used_at == DAY_10.replace(minute=0)
    assert (episode.opened_at, episode.closed_at) == (priced.at, None)
    assert episode.seen_at == priced.at + 2 * MINUTE
    assert [record.message for record in caplog.records] == ["usage without a rate"]
    (message,) = mail.outbox
    assert message.to == ["product@example.com"]
    assert "input, model next: 2 usage windows, 7 tokens of 1 customer" in message.body
    assert RatedUsage.objects.count() == 1  # What has a rate does not wait for what has none.


def test_the_rate_of_a_workspace_prices_its_own_usage_only(shop: Shop) -> None:
    for name in ("lab", "other"):
        shop.workspace(name)
    shop.version([rate("input", "1", workspace="lab")], NOVEMBER.start + timedelta(days=1))
    shop.use(input="3", workspace="lab")
    assert usage_without_rate([shop.customer.pk]) == []

    shop.use(input="4", workspace="other")

    (group,) = usage_without_rate([shop.customer.pk])
    assert (group.window_count, group.quantity) == (1, Decimal(4))


def test_an_approved_rate_takes_up_what_waited_and_closes_the_episode(
    priced: Shop, settings: Any
) -> None:
    priced.use(input="3", model="next")
    work(priced.at, settings)
    proposed = priced.proposed(_rates("small", "next"), NOVEMBER.start + timedelta(days=2))
    work(priced.at + MINUTE, settings)
    waiting = UnratedEpisode.objects.get().closed_at

    priced.at += 2 * MINUTE
    priced.approve(proposed.policy_change)
    (episode,) = work(priced.at, settings)

    assert waiting is None
    assert episode.closed_at == priced.at
    assert RatedUsage.objects.get().charge == Decimal("1.5")
    assert unrated_usage().groups == ()


def test_each_meter_and_model_is_its_own_episode_and_one_mail_tells_them(
    priced: Shop, settings: Any
) -> None:
    priced.use(input="3", model="next")
    priced.use(output="3", model="next")
    priced.use(input="3", model="other")

    episodes = work(priced.at, settings)

    assert {(e.meter.code, e.model) for e in episodes} == {
        ("input", "next"), ("output", "next"), ("input", "other"),
    }  # fmt: skip
    assert len(mail.outbox) == 1
    assert mail.outbox[0].body.count("\n- ") == 3


def test_what_closed_may_open_again_as_another_episode(priced: Shop, settings: Any) -> None:
    priced.use(input="3", model="next")
    work(priced.at, settings)
    priced.version(_rates("small", "next"), NOVEMBER.start + timedelta(days=2))
    work(priced.at + MINUTE, settings)

    priced.version(_rates("small"), NOVEMBER.start + timedelta(days=3))
    priced.use(input="9", model="next")
    priced.use(DAY_10 + timedelta(hours=5), input="1", model="next")
    first, second = work(priced.at + 2 * MINUTE, settings)

    assert first.closed_at == priced.at + MINUTE
    assert (second.closed_at, second.window_count) == (None, 1)  # The rated window keeps its rate.
    assert len(mail.outbox) == 2


def test_two_looks_at_once_make_one_episode(priced: Shop, settings: Any) -> None:
    priced.use(input="3", model="next")
    settings.BILLING_CLOCK = priced.at.isoformat()
    credits.tasks.rate()

    assert watch_unrated(at=priced.at) == watch_unrated(at=priced.at)
    twin = UnratedEpisode.objects.get()
    twin.pk = None
    with pytest.raises(DatabaseError), transaction.atomic():
        twin.save(force_insert=True)


def test_an_old_look_changes_nothing(priced: Shop, settings: Any) -> None:
    priced.use(input="3", model="next")
    work(priced.at, settings)
    priced.use(DAY_10 + timedelta(hours=5), input="1", model="next")

    (episode,) = work(priced.at - MINUTE, settings)

    assert (episode.seen_at, episode.window_count) == (priced.at, 1)


def test_a_mail_that_fails_is_sent_by_the_next_look(
    priced: Shop, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> int:
        raise ConnectionRefusedError("no mail server")

    priced.use(input="3", model="next")
    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", refuse)
        (untold,) = work(priced.at, settings)
    (told,) = work(priced.at + MINUTE, settings)

    assert untold.told_at is None
    assert told.told_at == priced.at + MINUTE
    assert len(mail.outbox) == 1


def test_who_dies_while_sending_leaves_it_to_the_next_look(
    priced: Shop, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object) -> int:
        raise KeyboardInterrupt

    priced.use(input="3", model="next")
    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", die)
        with pytest.raises(KeyboardInterrupt):
            work(priced.at, settings)
    assert UnratedEpisode.objects.get().told_at is None

    work(priced.at + MINUTE, settings)

    assert UnratedEpisode.objects.get().told_at == priced.at + MINUTE
    assert len(mail.outbox) == 1


def test_somebody_puts_a_name_to_it_once(
    priced: Shop, product: User, support: User, settings: Any, at: datetime
) -> None:
    priced.use(input="3", model="next")
    (episode,) = work(priced.at, settings)
    with pytest.raises(Invalid):
        acknowledge_unrated(episode=episode, note=" ", by=product, at=at)

    acknowledge_unrated(episode=episode, note="version 3 is on its way", by=product, at=at)

    with pytest.raises(Conflict):
        acknowledge_unrated(episode=episode, note="me too", by=support, at=at)
    episode.refresh_from_db()
    assert (episode.acknowledged_by, episode.note) == (product, "version 3 is on its way")


def test_a_scrape_shows_what_waits(priced: Shop, settings: Any) -> None:
    priced.use(input="3", model="next")
    work(priced.at, settings)

    text = Client().get("/metrics").content.decode()

    assert 'billing_usage_without_rate_windows{meter="input",model="next"} 1.0' in text


def test_all_that_waits_is_grouped_by_its_reason(priced: Shop, settings: Any) -> None:
    beta = Shop(
        make_customer("beta", priced.maker, priced.at),
        priced.unit, priced.card, priced.maker, priced.approver, priced.at,
    )  # fmt: skip
    priced.use(input="3", model="next")
    priced.use(output="4")
    beta.use(input="5")

    found = unrated_usage()

    assert [
        (g.reason, g.meter.code, g.model, g.window_count, g.quantity, len(g.customer_ids))
        for g in found.groups
    ] == [
        (Reason.NO_RATE, "input", "next", 1, Decimal(3), 1),
        (Reason.NO_PERIOD, "input", "small", 1, Decimal(5), 1),
        (Reason.IS_NEXT, "output", "small", 1, Decimal(4), 1),
    ]
    assert not found.is_cut
    assert unrated_usage(most=2).is_cut


def test_a_corrected_window_is_priced_by_its_first_rate_and_is_no_alarm(
    priced: Shop, settings: Any
) -> None:
    priced.use(input="3")
    work(priced.at, settings)
    priced.version(_rates("other"), NOVEMBER.start + timedelta(days=2))
    priced.use(input="4")

    (group,) = unrated_usage().groups

    assert group.reason == Reason.IS_NEXT
    assert work(priced.at + MINUTE, settings) == []


def test_the_alert_adds_up_in_the_database_what_has_one_answer(priced: Shop) -> None:
    begins = DAY_10 + timedelta(hours=3)  # At half past: the hour before it is judged by its start.
    priced.version(_rates("small", "next"), begins)
    hours = [DAY_10 + hour * timedelta(hours=1) for hour in range(6)]
    for hour in hours:
        priced.use(hour, input="2", model="next")
        priced.use(hour, input="3", model="small")
    priced.use(hours[5], output="7", model="other")

    with CaptureQueriesContext(connection) as context:
        found = usage_without_rate([priced.customer.pk])

    assert [(g.meter.code, g.model, g.window_count, g.quantity) for g in found] == [
        ("input", "next", 4, Decimal(8)),
        ("output", "other", 1, Decimal(7)),
    ]
    assert found[0].first_used_at == hours[0].replace(minute=0)
    (asked,) = [query["sql"] for query in context if "width_bucket" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(asked)
        assert len(cursor.fetchall()) == 5  # Of 13 windows.
    by_page = [g for g in unrated_usage().groups if g.reason == Reason.NO_RATE]
    assert [vars(one) for one in found] == [vars(one) for one in by_page]
