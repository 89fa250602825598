"""Many ask for the last credit at once: one is let begin, on real connections and with a gap."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

import pytest
from django.db import connection

from billing_project.kernel.models import User
from billing_project.kernel.users import ensure_roles
from credits.models import Hold
from credits.services import authorizing, holds
from credits.services.authorizing import authorize
from credits.services.standing import Request
from credits.spend import Ask, Controls, Decision, Standing, decide
from metering.models import Customer
from tests.credits.builders import Shop, make_shop

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
THREADS, GAP = 8, 0.05


@pytest.fixture
def last_credit(transactional_db: None, maker: User, approver: User) -> Shop:
    """Return a committed shop whose customer has one credit."""
    ensure_roles()
    shop = make_shop(maker, approver, AT)
    shop.grant("1")
    return shop


def _with_gap(monkeypatch: pytest.MonkeyPatch, wait: Callable[[], object]) -> None:
    """Wait between reading what is left and writing what is held."""

    def slowly(ask: Ask, controls: Controls, standing: Standing) -> Decision:
        decision = decide(ask, controls, standing)
        wait()
        return decision

    monkeypatch.setattr(authorizing, "decide", slowly)


def _ask_at_once(shop: Shop) -> list[bool]:
    barrier = threading.Barrier(THREADS)
    allowed: list[bool] = []

    def run() -> None:
        try:
            connection.ensure_connection()
            barrier.wait(30)
            request = Request(credits=Decimal(1))
            answer = authorize(customer=shop.customer, request=request, api_key=None, at=AT)
            allowed.append(answer.decision.is_allowed)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(allowed)


def test_one_of_many_gets_the_last_credit(
    last_credit: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_gap(monkeypatch, partial(time.sleep, GAP))

    allowed = _ask_at_once(last_credit)

    assert allowed == [False] * (THREADS - 1) + [True]
    assert Hold.objects.count() == 1


def test_without_the_lock_more_than_one_gets_it(
    last_credit: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_have_read = threading.Barrier(THREADS)
    _with_gap(monkeypatch, partial(all_have_read.wait, 30))
    for module in (authorizing, holds):
        monkeypatch.setattr(module, "lock_customer", lambda pk: Customer.objects.get(pk=pk))

    assert _ask_at_once(last_credit) == [True] * THREADS
