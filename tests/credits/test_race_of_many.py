"""Sixteen threads draw on one customer's grant at once: together no more than there is.

Each has its own connection and its own window to rate; a gap is injected between reading what is
left of the grant and writing what was drawn.
"""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection
from django.db.models import Sum

from billing_project.kernel.models import User
from billing_project.kernel.users import ensure_roles
from credits import checks
from credits.models import CreditGrant, LedgerTransaction, RatedUsage
from credits.services import burning, rating
from metering.models import UsageWindow
from tests.credits.builders import DAY_10, Shop, make_shop

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
THREADS, GAP = 16, 0.08


@pytest.fixture
def busy_shop(transactional_db: None, maker: User, approver: User) -> Shop:
    """Return a shop with 100 credits granted, and sixteen hours of usage at 10 credits each."""
    ensure_roles()
    shop = make_shop(maker, approver, AT)
    shop.grant("100")
    for hour in range(THREADS):
        shop.use(DAY_10 + timedelta(hours=hour), input="20")
    return shop


@pytest.fixture(autouse=True)
def _gap(monkeypatch: pytest.MonkeyPatch) -> None:
    write = burning.Pages.write

    def slowly(self: burning.Pages) -> int:
        time.sleep(GAP)
        return write(self)

    monkeypatch.setattr(burning.Pages, "write", slowly)


def _rate_at_once(shop: Shop) -> list[DatabaseError]:
    """Rate each window in a thread of its own; all begin together. Return what failed."""
    windows = list(UsageWindow.objects.order_by("pk").values_list("pk", flat=True))
    barrier = threading.Barrier(len(windows))
    failures: list[DatabaseError] = []

    def run(window_id: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(30)
            rating._continue(shop.customer.pk, [window_id], shop.maker, AT)
        except DatabaseError as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[window_id]) for window_id in windows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def _drawn() -> object:
    drawn = LedgerTransaction.objects.filter(kind="drawn")
    return drawn.aggregate(total=Sum("credits"))["total"]


def test_sixteen_threads_never_overdraw_a_grant(busy_shop: Shop) -> None:
    failures = _rate_at_once(busy_shop)

    assert failures == []
    assert RatedUsage.objects.count() == THREADS  # 16 x 10 credits: 100 drawn, 60 overage.
    assert _drawn() == -100
    assert RatedUsage.objects.aggregate(total=Sum("overage"))["total"] == 60
    assert CreditGrant.objects.get().remaining == 0
    assert [*checks.grants_follow_the_ledger(), *checks.drawn_is_in_the_ledger()] == []


def test_without_the_lock_they_would(busy_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    # The canary: the same threads, each with a part of the grant that the others took, too. Only
    # the CHECK of the database is left, and it has to refuse.
    monkeypatch.setattr(rating, "lock_customer", lambda customer_id: None)

    failures = _rate_at_once(busy_shop)

    assert failures
    assert all(isinstance(failure, IntegrityError) for failure in failures)
    assert all("credit_grant_remaining_bounds" in str(failure) for failure in failures)
    assert RatedUsage.objects.count() == THREADS - len(failures)
