"""Two at once on what is sold: one order, whichever it is; and canaries for each lock."""

import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, models

from billing_project.kernel.approvals import approve
from billing_project.kernel.errors import Conflict, Insufficient
from invoicing.items import Item
from invoicing.models import (
    Coupon,
    CouponRedemption,
    Invoice,
    Outcome,
    OutcomeDecision,
    SeatChange,
    Subscription,
)
from invoicing.services import coupons, outcomes, overage, seats, thresholds
from invoicing.services.coupons import CouponTerms, propose_coupon, redeem_coupon
from invoicing.services.invoices import finalize_due
from invoicing.services.outcomes import decide_outcome, record_outcome
from invoicing.services.seats import change_seats
from invoicing.services.subscriptions import subscribe
from invoicing.services.thresholds import invoice_reached
from metering.models import Customer
from tests.invoicing.builders import (
    DAY,
    LAUNCH,
    START,
    Shop,
    at_once,
    check_what_is_deferred,
    customer_of,
    open_shop,
    overage_invoices,
    refusals,
    sell_plan,
    subscribed,
    use,
    words,
)

pytestmark = pytest.mark.django_db(transaction=True)

GAP = 0.25
SEAT = Item("seat", "seats", "Seats", 2_000)
TICKET = Item("outcome", "resolved", "Resolved ticket", 99)
Act = Callable[[], object]


@pytest.fixture
def shop() -> Shop:
    """Return a shop that other sessions see."""
    return open_shop()


def _slow(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
    """Wait after a judgement, before what it allows is written."""
    judge = getattr(module, name)

    def slowly(*args: object, **kwargs: object) -> object:
        found = judge(*args, **kwargs)
        time.sleep(GAP)
        return found

    monkeypatch.setattr(module, name, slowly)


def _unlocked(monkeypatch: pytest.MonkeyPatch, *modules: object) -> None:
    for module in modules:
        monkeypatch.setattr(
            module, "lock_customer", lambda customer_id: Customer.objects.get(pk=customer_id)
        )


def _net(*acts: Act) -> list[object]:
    """Run acts at once; what the database refuses is returned, too."""

    def attempt(act: Act) -> Act:
        def run() -> object:
            try:
                return act()
            except DatabaseError as error:
                return error

        return run

    return at_once(*(attempt(act) for act in acts))


def _faults(results: list[object]) -> list[object]:
    return [one for one in results if isinstance(one, DatabaseError)]


def _team(shop: Shop, name: str = "acme", count: int = 5, *items: Item) -> Subscription:
    version = sell_plan(shop, f"team-{name}", items=(SEAT, *items))
    sold = subscribe(
        customer=customer_of(shop, name), plan_version=version, start_at=START, by=shop.maker,
        at=START, seats=count,
    )  # fmt: skip
    finalize_due(by=shop.worker, at=START)
    return sold


# Seats.


def _fewer(shop: Shop, sold: Subscription, number: int) -> Act:
    return lambda: change_seats(
        subscription=sold, seats=-3, effective_at=START + DAY, reason="race", key=f"k{number}",
        by=shop.worker, at=START + DAY,
    )  # fmt: skip


def test_of_two_who_remove_the_last_seats_one_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = _team(shop, "acme", 5)
    _slow(monkeypatch, seats, "_refuse_bad")

    results = _net(_fewer(shop, sold, 1), _fewer(shop, sold, 2))

    assert (_faults(results), [type(one) for one in refusals(results)]) == ([], [Insufficient])
    assert sum(SeatChange.objects.values_list("seats", flat=True)) == 2
    check_what_is_deferred()


def test_canary_seats_without_the_lock_both_believe_that_there_are_enough(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = _team(shop, "acme", 5)
    _slow(monkeypatch, seats, "_refuse_bad")
    _unlocked(monkeypatch, seats)

    results = _net(_fewer(shop, sold, 1), _fewer(shop, sold, 2))

    assert refusals(results) == []  # Both judged that it is allowed: the database is the net.


# Coupons.


def _coupon(shop: Shop, most: int) -> Coupon:
    terms = CouponTerms(
        code="FEW", name="Few", kinds=("recurring",), starts_at=LAUNCH, percent=Decimal(20),
        periods=2, max_redemptions=most,
    )  # fmt: skip
    coupon = propose_coupon(terms=terms, proposal=words(LAUNCH), by=shop.maker, at=LAUNCH)
    approve(change=coupon.policy_change, by=shop.approver, reason="campaign", at=LAUNCH)
    return coupon


def _redeem(shop: Shop, sold: Subscription) -> Act:
    return lambda: redeem_coupon(
        subscription=sold, code="FEW", by=shop.worker, at=START + timedelta(hours=1)
    )


def test_a_coupon_is_redeemed_as_often_as_it_may_be(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = [subscribed(shop, name) for name in ("a", "b", "c")]
    _coupon(shop, 2)
    _slow(monkeypatch, coupons, "_refuse_unredeemable")

    results = _net(*(_redeem(shop, one) for one in sold))

    assert _faults(results) == []
    assert [error.code for error in refusals(results)] == ["coupon_used_up"]
    taken = CouponRedemption.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(taken) == [1, 2]


def test_canary_coupons_without_the_lock_all_believe_that_one_is_left(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = [subscribed(shop, name) for name in ("a", "b", "c")]
    _coupon(shop, 1)
    _slow(monkeypatch, coupons, "_refuse_unredeemable")
    monkeypatch.setattr(
        Coupon.objects, "select_for_update", lambda **_: models.QuerySet(Coupon), raising=True
    )

    results = _net(*(_redeem(shop, one) for one in sold))

    assert refusals(results) == []
    assert len(_faults(results)) == 2  # The database's own rule is the net below.
    assert CouponRedemption.objects.count() == 1


# Outcomes.


def _outcome(shop: Shop) -> Outcome:
    sold = _team(shop, "acme", 1, TICKET)
    return record_outcome(
        customer=sold.customer, code="resolved", identifier="t-1", occurred_at=START + DAY, note="",
        by=shop.worker, at=START + DAY,
    )  # fmt: skip


def _decide(shop: Shop, outcome: Outcome, state: str) -> Act:
    return lambda: decide_outcome(
        outcome=outcome, state=state, reason="looked", by=shop.worker, at=START + 2 * DAY
    )


def test_an_outcome_that_is_accepted_and_rejected_at_once_has_one_history(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = _outcome(shop)
    _slow(monkeypatch, outcomes, "refuse_undecidable")

    results = _net(_decide(shop, outcome, "accepted"), _decide(shop, outcome, "rejected"))

    assert _faults(results) == []
    outcome.refresh_from_db()
    steps = OutcomeDecision.objects.order_by("sequence").values_list("state_before", "state")
    # Rejected is the end; what was accepted first can still be rejected.
    assert list(steps) in (
        [("pending", "accepted"), ("accepted", "rejected")], [("pending", "rejected")],
    )  # fmt: skip
    assert outcome.state == "rejected"
    refused = [] if len(steps) == 2 else [Conflict]
    assert [type(one) for one in refusals(results)] == refused


def test_canary_outcomes_without_the_lock_both_follow_on_the_same_state(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = _outcome(shop)
    _slow(monkeypatch, outcomes, "refuse_undecidable")
    _unlocked(monkeypatch, outcomes)
    monkeypatch.setattr(
        Outcome.objects, "select_for_update", lambda **_: models.QuerySet(Outcome), raising=True
    )

    results = _net(_decide(shop, outcome, "accepted"), _decide(shop, outcome, "rejected"))

    assert refusals(results) == []
    assert len(_faults(results)) == 1
    assert OutcomeDecision.objects.count() == 1


# Thresholds.


def _reached(shop: Shop) -> Subscription:
    sold = subscribed(shop, overage_price=Decimal("0.5"), threshold_minor=2_000)
    use(shop, 150, START + DAY)  # 50 beyond: USD 25.00.
    return sold


def _invoice(shop: Shop) -> Act:
    return lambda: invoice_reached(by=shop.worker, at=START + DAY)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that each attempt to add a draft adds to."""
    attempts: list[int] = []
    add = overage._new_draft

    def counted(*args: object, **kwargs: object) -> Invoice:
        attempts.append(1)
        return add(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(overage, "_new_draft", counted)
    return attempts


def test_a_threshold_that_is_crossed_is_invoiced_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tried: list[int]
) -> None:
    sold = _reached(shop)
    _slow(monkeypatch, overage, "overage_on_no_line")

    results = _net(_invoice(shop), _invoice(shop))

    assert sorted(str(one) for one in results) == ["0", "1"]
    assert tried == [1]
    assert [one.total_minor for one in overage_invoices(sold)] == [2_500]
    check_what_is_deferred()


def test_canary_thresholds_without_the_lock_both_draft_the_same_overage(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tried: list[int]
) -> None:
    _reached(shop)
    _slow(monkeypatch, overage, "overage_on_no_line")
    _unlocked(monkeypatch, thresholds)

    _net(_invoice(shop), _invoice(shop))

    # Both believed that nobody had drafted it.
    assert tried == [1, 1]
