"""Many customers in one transaction: what their notes name, and nobody's fault is another's."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction

from billing_project.kernel import outbox
from billing_project.kernel.models import OutboxMessage, User
from billing_project.kernel.users import ensure_roles
from credits.models import RatedUsage
from credits.selectors.facts import Rulebook
from credits.services import rating
from credits.services.rating import rate_pending, rate_together
from metering.models import UsageWindow
from metering.services.customers import lock_customer
from tests.credits.builders import DAY_10, NOVEMBER, Shop, make_customer, make_shop, rate

pytestmark = pytest.mark.django_db


@pytest.fixture
def shops(shop: Shop) -> list[Shop]:
    """Return three customers of one shop, each with a period, a grant and usage that waits."""
    shops = [shop, *(_neighbour(shop, name) for name in ("bolt", "crow"))]
    for one in shops:
        one.grant("3")
        one.use(input="10")
    return shops


def _neighbour(shop: Shop, name: str) -> Shop:
    customer = make_customer(name, shop.maker, shop.at)
    other = Shop(customer, shop.unit, shop.card, shop.maker, shop.approver, shop.at)
    other.period()
    outbox.take("usage_changed", customer.pk)
    return other


def _rated() -> list[tuple[int, str, str]]:
    rows = RatedUsage.objects.order_by("pk")
    return [(row.customer_id, f"{row.drawn:.0f}", f"{row.overage:.0f}") for row in rows]


def test_customers_are_rated_in_one_transaction(shops: list[Shop]) -> None:
    ids = [shop.customer.pk for shop in shops]

    assert rate_together(customer_ids=ids[::-1], by=shops[0].maker, at=shops[0].at) == 3

    assert _rated() == [(pk, "3", "2") for pk in ids]
    assert outbox.waiting("credits_changed") == ids


def test_only_the_windows_that_notes_name_are_read(shops: list[Shop]) -> None:
    shop = shops[1]
    shop.use(DAY_10 + timedelta(hours=1), input="4")
    first, _ = UsageWindow.objects.filter(customer=shop.customer).order_by("start_at")
    OutboxMessage.objects.filter(object_id=shop.customer.pk).delete()
    outbox.publish_parts("usage_changed", {shop.customer.pk: {first.pk}}, shop.at)

    rate_together(customer_ids=[shop.customer.pk], by=shop.maker, at=shop.at)

    assert [row.window_id for row in RatedUsage.objects.all()] == [first.pk]


def test_a_note_that_names_no_windows_is_left_for_the_whole(shops: list[Shop]) -> None:
    shop = shops[0]
    outbox.publish("usage_changed", [shop.customer.pk], shop.at)

    rate_together(customer_ids=[shop.customer.pk], by=shop.maker, at=shop.at)
    assert outbox.waiting("usage_changed")[:1] == [shop.customer.pk]

    assert rate_pending(by=shop.maker, at=shop.at) == 2
    assert outbox.waiting("usage_changed") == []


def test_a_fault_of_one_leaves_the_others_rated(
    shops: list[Shop], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poor = shops[1].customer.pk
    whole = Rulebook.rate_of

    def rate_of(self: Rulebook, window: UsageWindow) -> object:
        assert window.customer_id != poor, "a fault"
        return whole(self, window)

    monkeypatch.setattr(Rulebook, "rate_of", rate_of)

    assert rate_pending(by=shops[0].maker, at=shops[0].at) == 2

    assert outbox.waiting("usage_changed") == [poor]
    assert [record.message for record in caplog.records] == ["step_failed", "step_failed"]


def test_groups_are_bounded_by_customers_and_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rating, "TOGETHER", 2)
    monkeypatch.setattr(rating, "WINDOWS_TOGETHER", 10)
    notes = [outbox.Waiting(*note) for note in ((1, 3), (2, 3), (3, 9), (4, None), (5, 2), (6, 99))]

    assert list(rating._groups(notes)) == [[1, 2], [3], [5], [6]]


def test_usage_without_a_rate_leaves_one_note_however_often_it_changes(shop: Shop) -> None:
    rate_pending(by=shop.maker, at=shop.at)
    shop.version([rate("output", "1")], NOVEMBER.start + timedelta(days=1))
    for _ in range(2):
        shop.use(input="10")
        rate_pending(by=shop.maker, at=shop.at)

    assert RatedUsage.objects.count() == 0
    assert OutboxMessage.objects.filter(topic="rating_blocked").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_customer_whose_lock_is_held_keeps_the_note_and_holds_up_nobody(
    maker: User, approver: User
) -> None:
    ensure_roles()
    shop = make_shop(maker, approver, DAY_10)
    other = _neighbour(shop, "bolt")
    rate_pending(by=maker, at=DAY_10)
    for one in (shop, other):
        one.use(input="10")
    is_held, is_done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            lock_customer(shop.customer.pk)
            is_held.set()
            is_done.wait(10)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait(10)
    written = rate_pending(by=maker, at=DAY_10)
    is_done.set()
    holder.join()

    assert written == 1
    assert outbox.waiting("usage_changed") == [shop.customer.pk]
    assert rate_pending(by=maker, at=DAY_10) == 1
