"""Two changes of one subscription at once: the lock gives them one order, whichever it is."""

import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from django.db import DatabaseError

from billing_project.kernel.errors import BillingError
from credits.models import CreditGrant
from invoicing.models import (
    ChangeKind,
    CreditNote,
    Invoice,
    PlanVersion,
    Subscription,
    SubscriptionChange,
)
from invoicing.phases import Moment
from invoicing.selectors import billing_periods_of
from invoicing.services import changes, openings, subscriptions
from invoicing.services.changes import Asked, change_subscription
from invoicing.services.invoices import finalize_due
from invoicing.services.subscriptions import renew_due
from metering.models import Customer
from tests.invoicing.builders import (
    DAY,
    START,
    Shop,
    at_once,
    check_what_is_deferred,
    open_shop,
    refusals,
    sell_plan,
    subscribed,
)

pytestmark = pytest.mark.django_db(transaction=True)

MID = START + 12 * DAY
GAP = 0.25
Act = Callable[[], object]


@pytest.fixture
def shop() -> Shop:
    """Return a shop that other sessions see."""
    return open_shop()


@pytest.fixture
def gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait between judging a change and writing it."""
    write = changes._write

    def slowly(*args: object) -> SubscriptionChange:
        time.sleep(GAP)
        return write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(changes, "_write", slowly)


def _acts(shop: Shop, sold: Subscription, larger: PlanVersion) -> dict[str, Act]:
    def make(kind: str, when: Moment, plan: PlanVersion | None = None, at: int = 0) -> Act:
        asked = Asked(ChangeKind(kind), when, "race", f"{kind}:{when}:{plan}", plan)
        return lambda: change_subscription(
            subscription=sold, asked=asked, by=shop.worker, at=MID + timedelta(seconds=at)
        )

    return {
        "upgrade": make("plan", Moment.NOW, larger),
        "other": make("plan", Moment.NOW, sell_plan(shop, "third", fee_minor=1_000), 1),
        "pause": make("pause", Moment.NOW, at=2),
        "cancel": make("cancel", Moment.NOW, at=3),
        "leave": make("cancel", Moment.PERIOD_END, at=4),
        "renew": lambda: renew_due(by=shop.worker, at=MID + 20 * DAY),
    }


@pytest.mark.usefixtures("gap")
@pytest.mark.parametrize(
    "pair",
    [
        ("upgrade", "upgrade"), ("upgrade", "other"), ("upgrade", "pause"),
        ("upgrade", "cancel"), ("pause", "cancel"), ("cancel", "leave"), ("upgrade", "renew"),
    ],
)  # fmt: skip
def test_two_changes_at_once_have_one_legal_order(shop: Shop, pair: tuple[str, str]) -> None:
    sold = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    larger = sell_plan(shop, "larger", fee_minor=9_000, included_credits=Decimal(300))
    acts = _acts(shop, sold, larger)

    results = at_once(*(acts[name] for name in pair))

    assert len(refusals(results)) <= 1
    sold.refresh_from_db()
    periods = list(billing_periods_of(sold))
    bounds = [(period.start_at, period.end_at) for period in periods]
    assert all(a[1] == b[0] for a, b in pairwise(bounds))
    # Each day of the first fee is given back once at most, and is one plan's.
    notes = sum(CreditNote.objects.values_list("total_minor", flat=True))
    assert notes <= 2_940 + 5_400
    assert not CreditGrant.objects.filter(remaining__lt=0).exists()
    plans = SubscriptionChange.objects.filter(kind="plan", undone_at=None)
    assert len({change.effective_at for change in plans}) == plans.count()
    if sold.ends_at is not None:
        assert all(period.end_at <= sold.ends_at or period is periods[-1] for period in periods)
    check_what_is_deferred()


@pytest.mark.usefixtures("gap")
def test_canary_without_the_lock_both_believe_that_they_are_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It shows that the gap is wide enough for the test above to mean something.
    sold = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    larger = sell_plan(shop, "larger", fee_minor=9_000, included_credits=Decimal(300))
    acts = _acts(shop, sold, larger)

    def free(customer_id: int) -> Customer:
        return Customer.objects.get(pk=customer_id)

    def unlocked(subscription: Subscription) -> Subscription:
        return Subscription.objects.select_related("customer").get(pk=subscription.pk)

    for module in (changes, subscriptions):
        monkeypatch.setattr(module, "lock_customer", free)
    for module in (changes, openings):
        monkeypatch.setattr(module, "lock_subscription", unlocked)
    failures: list[BaseException] = []

    def run(act: Act) -> Act:
        def attempt() -> object:
            try:
                return act()
            except DatabaseError as error:
                failures.append(error)
                return None

        return attempt

    results = at_once(run(acts["cancel"]), run(acts["leave"]))

    # Both passed the check that there is no end yet: the database's own rule is the net below it.
    assert [error for error in results if isinstance(error, BillingError)] == []
    assert len(failures) == 1
    assert "subscription_change_one_cancel" in str(failures[0])
    assert Invoice.objects.exists()
