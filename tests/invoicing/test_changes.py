"""Upgrades, pauses, ends and trials: what each does to periods, fees and credits."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, IntegrityError, connection, transaction
from pytest_django import DjangoAssertNumQueries

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid, NotAllowed
from billing_project.kernel.models import User
from credits.models import BillingPeriod, CreditGrant, LedgerTransaction, RatedUsage
from credits.services.grants import issue_grant
from credits.services.replaying import replay_credits
from invoicing.items import Item
from invoicing.models import (
    ChangeKind,
    CreditNote,
    Invoice,
    LineDiscount,
    PlanVersion,
    Subscription,
    SubscriptionChange,
)
from invoicing.phases import Moment
from invoicing.selectors import (
    billing_periods_of,
    governing_plan_version,
    overage_price,
    plan_version_at,
    plan_version_of,
)
from invoicing.services.changes import Asked, change_subscription, undo_change
from invoicing.services.invoices import finalize_due
from invoicing.services.subscriptions import end_subscription, renew_due, subscribe
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    check_what_is_deferred,
    customer_of,
    paid,
    sell_plan,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db

# The first period is 30 days from 21 October; the 13th day begins on 2 November.
MID = START + 12 * DAY
HOUR = timedelta(hours=1)


def _larger(shop: Shop, **terms: object) -> PlanVersion:
    return sell_plan(
        shop, "larger",
        **{"fee_minor": 9_000, "included_credits": Decimal(300), **terms},
    )  # fmt: skip


def _change(
    shop: Shop,
    subscription: Subscription,
    kind: str,
    when: Moment | datetime = Moment.NOW,
    *,
    at: datetime = MID,
    plan: PlanVersion | None = None,
    key: str = "",
    **asked: object,
) -> SubscriptionChange:
    wanted = Asked(
        ChangeKind(kind),
        when,
        "they asked",
        key or f"{kind}:{at.isoformat()}",
        plan,
        **asked,  # type: ignore[arg-type]
    )
    return change_subscription(subscription=subscription, asked=wanted, by=shop.worker, at=at)


def _spans(subscription: Subscription) -> list[tuple[datetime, datetime]]:
    return list(billing_periods_of(subscription).values_list("start_at", "end_at"))


def _included(subscription: Subscription) -> list[tuple[datetime, datetime | None, Decimal]]:
    grants = CreditGrant.objects.filter(customer=subscription.customer, category="included")
    return list(grants.order_by("effective_at").values_list("effective_at", "expires_at", "amount"))


def _finalized(shop: Shop, at: datetime) -> None:
    finalize_due(by=shop.worker, at=at)


def _books_hold() -> None:
    check_what_is_deferred()
    found = [(r.name, f) for r in run_checks() for f in r.findings if not _is_of_revrec(r.name)]
    assert found == []


def _is_of_revrec(name: str) -> bool:
    return name.startswith("revrec.")  # These tests keep no books; tests/revrec do.


def test_an_upgrade_credits_the_unused_fee_and_charges_the_new_one_by_day(shop: Shop) -> None:
    subscription = subscribed(shop)
    _finalized(shop, START)

    _change(shop, subscription, "plan", plan=_larger(shop))

    assert _spans(subscription) == [(START, MID), (MID, END)]
    note = CreditNote.objects.get()
    # 49.00 x 18/30 = 29.40
    assert (note.total_minor, note.reason) == (2_940, "cancel_future")
    assert note.memo == "Not used from 2026-11-02 on. Plan-acme: 18 of 30 days x 49.00"
    new = Invoice.objects.get(status="draft")
    line = new.lines.get()
    # 90.00 x 18/30 = 54.00
    assert (line.amount_minor, line.service_start_at, line.service_end_at) == (5_400, MID, END)
    assert line.description == "Larger, 120 credits included; 18 of 30 days x 90.00"
    _books_hold()


def test_an_upgrade_adds_credits_for_the_days_that_are_left_and_touches_no_grant(
    shop: Shop,
) -> None:
    subscription = subscribed(shop)
    use(shop, 90, START + DAY)

    _change(shop, subscription, "plan", plan=_larger(shop))

    # (300 - 100) x 18/30 = 120 more; what was given before stands, with what is left of it.
    assert _included(subscription) == [(START, END, Decimal(100)), (MID, END, Decimal(120))]
    assert CreditGrant.objects.get(amount=100).remaining == 10
    use(shop, 130, MID + HOUR, "req-2")
    assert RatedUsage.objects.filter(overage__gt=0).count() == 0
    _books_hold()


def test_what_was_paid_and_is_not_used_pays_for_the_new_fee(shop: Shop) -> None:
    subscription = subscribed(shop)
    _finalized(shop, START)
    paid(shop, Invoice.objects.get())

    _change(shop, subscription, "plan", plan=_larger(shop))
    _finalized(shop, MID)

    new = Invoice.objects.get(service_start_at=MID)
    assert (new.applied_minor, new.open_minor) == (2_940, 5_400 - 2_940)
    _books_hold()


def test_a_draft_of_the_fee_claims_only_what_is_used(shop: Shop) -> None:
    subscription = subscribed(shop)  # Nothing was finalized since.

    _change(shop, subscription, "plan", plan=_larger(shop))

    old = Invoice.objects.get(service_start_at=START)
    line = old.lines.get()
    # 49.00 x 12/30 = 19.60
    assert (old.total_minor, line.amount_minor, line.service_end_at) == (1_960, 1_960, MID)
    assert line.description == "Plan-acme, 100 credits included; 12 of 30 days x 49.00"
    assert not CreditNote.objects.exists()
    _finalized(shop, MID)
    _books_hold()


def test_a_discounted_draft_claims_less_with_its_discount(shop: Shop) -> None:
    half = Item(
        "discount", "launch", "Launch", percent=Decimal(50), periods=0, kinds=("recurring",)
    )
    subscription = subscribed(shop, items=(half,))

    _change(shop, subscription, "plan", plan=_larger(shop))

    old = Invoice.objects.get(service_start_at=START)
    # 49.00 less half is 24.50; 24.50 x 18/30 = 14.70 comes off it, and as much off the discount.
    line = old.lines.get()
    assert (old.total_minor, line.discount_minor, line.service_end_at) == (980, 980, MID)
    assert LineDiscount.objects.get(line=line).amount_minor == 980
    assert (old.status, CreditNote.objects.count()) == ("draft", 0)
    _books_hold()


def test_a_downgrade_at_once_takes_no_credits_away(shop: Shop) -> None:
    subscription = subscribed(shop, included_credits=Decimal(300), fee_minor=9_000)
    _finalized(shop, START)
    use(shop, 250, START + DAY)

    _change(shop, subscription, "plan", plan=sell_plan(shop, "small"))

    assert _included(subscription) == [(START, END, Decimal(300))]
    use(shop, 50, MID + HOUR, "req-2")
    assert RatedUsage.objects.filter(overage__gt=0).count() == 0
    assert CreditNote.objects.get().total_minor == 5_400
    _books_hold()


def test_a_downgrade_at_the_periods_end_waits_for_it(shop: Shop) -> None:
    subscription = subscribed(shop)
    small = sell_plan(shop, "small", fee_minor=1_000, overage_price=Decimal("0.02"))

    change = _change(shop, subscription, "plan", Moment.PERIOD_END, plan=small)

    assert change.effective_at == END
    assert _spans(subscription) == [(START, END)]
    assert renew_due(by=shop.worker, at=END) == 1
    fee = Invoice.objects.get(service_start_at=END)
    assert fee.total_minor == 1_000
    first, second = billing_periods_of(subscription)
    assert overage_price(first) == (Decimal("0.012"), "USD")
    assert overage_price(second) == (Decimal("0.02"), "USD")
    assert not CreditNote.objects.exists()


def test_usage_is_priced_by_the_plan_of_its_hour(shop: Shop) -> None:
    subscription = subscribed(shop, included_credits=Decimal(0))
    at = MID + 37 * timedelta(minutes=1)
    use(shop, 10, at - timedelta(minutes=1))

    _change(
        shop, subscription, "plan", at=at,
        plan=_larger(shop, overage_price=Decimal("0.02"), included_credits=Decimal(0)),
    )  # fmt: skip
    use(shop, 5, at + timedelta(minutes=1), "req-2")  # Of the hour that began under the old plan.
    use(shop, 7, MID + HOUR, "req-3")

    first, second = billing_periods_of(subscription)
    assert [row.billing_period for row in RatedUsage.objects.order_by("id")] == [
        first, first, second,
    ]  # fmt: skip
    assert replay_credits(subscription.customer_id).differences == ()
    _books_hold()


def test_credits_of_the_new_plan_pay_for_the_hour_in_which_it_begins(shop: Shop) -> None:
    subscription = subscribed(shop, included_credits=Decimal(0))
    at = MID + 37 * timedelta(minutes=1)

    _change(shop, subscription, "plan", at=at, plan=_larger(shop))
    use(shop, 50, at + timedelta(minutes=5))

    assert RatedUsage.objects.get().overage == 0
    assert replay_credits(subscription.customer_id).differences == ()
    _books_hold()


def test_usage_ahead_of_the_clock_keeps_its_period(shop: Shop) -> None:
    subscription = subscribed(shop)
    at = MID - timedelta(minutes=2)
    use(shop, 10, MID + timedelta(minutes=1), known_at=at)

    change = _change(shop, subscription, "plan", at=at, plan=_larger(shop))

    assert change.effective_at == MID + HOUR
    assert _spans(subscription) == [(START, MID + HOUR)]
    renew_due(by=shop.worker, at=MID + HOUR)
    assert _spans(subscription) == [(START, MID + HOUR), (MID + HOUR, END)]
    _books_hold()


def test_changing_back_and_forth_gives_no_credits_twice(shop: Shop) -> None:
    subscription = subscribed(shop)
    small, larger = subscription.plan_version, _larger(shop)

    for day, plan in enumerate([larger, small, larger, small, larger], start=12):
        _change(shop, subscription, "plan", plan=plan, at=START + day * DAY)

    # 100 and, once, (300 - 100) x 18/30: going down takes nothing, coming back gives nothing.
    assert [amount for *_, amount in _included(subscription)] == [Decimal(100), Decimal(120)]


def test_leaving_and_buying_again_gives_no_credits_twice(shop: Shop) -> None:
    subscription = subscribed(shop)

    _change(shop, subscription, "cancel")
    subscribe(
        customer=subscription.customer, plan_version=subscription.plan_version, start_at=MID,
        by=shop.maker, at=MID,
    )  # fmt: skip

    # 100 for 30 days from then on, less 100 x 18/30 that are there for the first 18 of them.
    assert _included(subscription) == [
        (START, END, Decimal(100)), (MID, MID + 30 * DAY, Decimal(40)),
    ]  # fmt: skip


def test_a_pause_stops_fee_and_credits_and_bills_usage_all_the_same(shop: Shop) -> None:
    subscription = subscribed(shop)
    _finalized(shop, START)

    _change(shop, subscription, "pause")
    use(shop, 130, MID + DAY)
    renew_due(by=shop.worker, at=END)

    assert _spans(subscription) == [(START, MID), (MID, END), (END, END + 30 * DAY)]
    assert CreditNote.objects.get().total_minor == 2_940
    assert Invoice.objects.count() == 1
    assert _included(subscription) == [(START, END, Decimal(100))]
    assert RatedUsage.objects.get().overage == 30
    _books_hold()


def test_resuming_charges_the_days_that_are_left_of_the_period(shop: Shop) -> None:
    subscription = subscribed(shop)
    _finalized(shop, START)
    _change(shop, subscription, "pause")
    renew_due(by=shop.worker, at=END)

    _change(shop, subscription, "resume", at=END + 10 * DAY)

    back = Invoice.objects.get(status="draft")
    # 49.00 x 20/30 = 32.67, and 100 x 20/30 credits.
    assert (back.total_minor, back.service_start_at) == (3_267, END + 10 * DAY)
    assert _included(subscription)[-1] == (
        END + 10 * DAY, END + 30 * DAY, Decimal("66.666666666667"),
    )  # fmt: skip
    _books_hold()


def test_cancelling_at_once_ends_it_and_gives_the_unused_fee_back(shop: Shop) -> None:
    subscription = subscribed(shop)
    _finalized(shop, START)

    _change(shop, subscription, "cancel")

    subscription.refresh_from_db()
    assert subscription.ends_at == MID
    assert CreditNote.objects.get().total_minor == 2_940
    assert renew_due(by=shop.worker, at=END + 90 * DAY) == 0
    with pytest.raises(Conflict, match="ended"):
        _change(shop, subscription, "pause", at=END)
    _books_hold()


def test_cancelling_at_once_may_keep_the_fee(shop: Shop) -> None:
    subscription = subscribed(shop)
    _finalized(shop, START)

    _change(shop, subscription, "cancel", credits_unused=False)

    assert not CreditNote.objects.exists()


def test_a_cancellation_at_the_periods_end_is_undone_before_it(shop: Shop) -> None:
    subscription = subscribed(shop)
    change = _change(shop, subscription, "cancel", Moment.PERIOD_END)
    subscription.refresh_from_db()
    assert subscription.ends_at == END

    undo_change(change=change, reason="they stay", by=shop.worker, at=END - HOUR)

    assert Subscription.objects.get().ends_at is None
    assert renew_due(by=shop.worker, at=END) == 1
    again = undo_change(change=change, reason="they stay", by=shop.worker, at=END)
    assert again.undone_at == END - HOUR


def test_what_took_effect_is_not_undone(shop: Shop) -> None:
    subscription = subscribed(shop)
    upgrade = _change(shop, subscription, "plan", plan=_larger(shop))
    left = _change(shop, subscription, "cancel", at=MID + DAY)

    for change in (upgrade, left):
        with pytest.raises(Conflict, match="took effect"):
            undo_change(change=change, reason="oops", by=shop.worker, at=MID + 2 * DAY)


def test_a_phase_that_is_scheduled_cuts_the_period_where_it_begins(shop: Shop) -> None:
    subscription = subscribed(shop)
    _finalized(shop, START)
    later = _change(shop, subscription, "plan", MID, at=START + DAY, plan=_larger(shop))

    assert _spans(subscription) == [(START, MID)]
    assert not CreditNote.objects.exists()  # It can still be undone.
    renew_due(by=shop.worker, at=MID)

    assert _spans(subscription) == [(START, MID), (MID, END)]
    assert CreditNote.objects.get().total_minor == 2_940
    assert later.created_at < later.effective_at


def test_undoing_a_scheduled_phase_gives_the_period_its_end_back(shop: Shop) -> None:
    subscription = subscribed(shop)
    later = _change(shop, subscription, "plan", MID, at=START + DAY, plan=_larger(shop))

    undo_change(change=later, reason="not yet", by=shop.worker, at=START + 2 * DAY)

    assert _spans(subscription) == [(START, END)]
    assert plan_version_at(subscription, END) == subscription.plan_version
    _change(shop, subscription, "plan", MID, at=START + 3 * DAY, plan=_larger(shop), key="anew")


def test_a_plan_of_another_interval_begins_a_period_of_its_own(shop: Shop) -> None:
    subscription = subscribed(shop)
    _finalized(shop, START)
    yearly = _larger(shop, interval_unit="month", interval_count=12, fee_minor=90_000)

    _change(shop, subscription, "plan", plan=yearly)

    assert _spans(subscription)[1] == (MID, datetime(2027, 11, 2, tzinfo=UTC))
    assert Invoice.objects.get(status="draft").total_minor == 90_000
    # 300 for the year, less 100 x 18/30 that are there for its first 18 days.
    assert _included(subscription)[1][2] == Decimal(240)


def test_a_trial_is_free_and_the_first_paid_period_begins_at_its_end(shop: Shop) -> None:
    version, customer = sell_plan(shop), customer_of(shop)
    trial = START + 14 * DAY

    subscription = subscribe(
        customer=customer, plan_version=version, start_at=START, trial_until=trial,
        by=shop.maker, at=START,
    )  # fmt: skip

    assert not Invoice.objects.exists()
    # 100 x 14/30 for the trial.
    assert _included(subscription) == [(START, trial, Decimal("46.666666666667"))]
    renew_due(by=shop.worker, at=trial)
    assert _spans(subscription) == [(START, trial), (trial, trial + 30 * DAY)]
    assert Invoice.objects.get().total_minor == 4_900
    assert _included(subscription)[1] == (trial, trial + 30 * DAY, Decimal(100))
    same = subscribe(
        customer=customer, plan_version=version, start_at=START, trial_until=trial,
        by=shop.maker, at=END,
    )  # fmt: skip
    assert same == subscription
    _books_hold()


def test_what_was_bought_stays_whatever_changes(shop: Shop) -> None:
    subscription = subscribed(shop)
    bought = issue_grant(
        customer=subscription.customer, category="paid", amount=Decimal(1_000),
        pricing_unit=shop.unit, reason_code="sold", source_key="bought", by=shop.maker,
        at=START, effective_at=START, price_minor=1_000,
    )  # fmt: skip
    use(shop, 150, START + DAY)

    _change(shop, subscription, "plan", plan=_larger(shop))
    _change(shop, subscription, "pause", at=MID + DAY)
    _change(shop, subscription, "resume", at=MID + 2 * DAY)
    _change(shop, subscription, "cancel", at=MID + 3 * DAY)

    bought.refresh_from_db()
    assert bought.remaining == 950
    assert not CreditGrant.objects.filter(remaining__lt=0).exists()
    assert not LedgerTransaction.objects.filter(kind__in=["voided", "expired"]).exists()
    _books_hold()


@pytest.mark.parametrize(
    ("kind", "asked", "found"),
    [
        ("plan", {}, "has plan-acme v1 then already"),
        ("resume", {}, "is active then: it cannot resume"),
        ("plan", {"when": START}, "after now"),
        ("cancel", {"when": END}, "now or at its period's end"),
        ("trial", {}, "sold with its subscription"),
        ("plan", {"at": START}, "in this very instant"),
    ],
)
def test_what_a_state_does_not_admit_is_refused(
    shop: Shop, kind: str, asked: dict[str, datetime], found: str
) -> None:
    subscription = subscribed(shop)
    plan = subscription.plan_version if kind == "plan" else None

    with pytest.raises((Conflict, Invalid), match=found):
        _change(shop, subscription, kind, plan=plan, **asked)  # type: ignore[arg-type]

    assert not SubscriptionChange.objects.exists()


def test_a_change_before_one_that_is_scheduled_is_refused(shop: Shop) -> None:
    subscription, larger = subscribed(shop), _larger(shop)
    _change(shop, subscription, "plan", Moment.PERIOD_END, plan=larger, at=START + DAY)

    with pytest.raises(Conflict, match="is scheduled for 2026-11-20"):
        _change(shop, subscription, "plan", plan=sell_plan(shop, "third"))


def test_no_plan_changes_once_the_end_is_set(shop: Shop) -> None:
    subscription = subscribed(shop)
    end_subscription(subscription=subscription, ends_at=END, reason="left", by=shop.maker, at=START)

    with pytest.raises(Conflict, match="undo that first"):
        _change(shop, subscription, "plan", plan=_larger(shop))


def test_the_same_key_is_the_same_change_and_never_another(shop: Shop) -> None:
    subscription, larger = subscribed(shop), _larger(shop)
    first = _change(shop, subscription, "plan", plan=larger, key="k")

    again = _change(shop, subscription, "plan", plan=larger, key="k", at=MID + DAY)

    assert again == first
    assert BillingPeriod.objects.count() == 2
    with pytest.raises(IdempotencyConflict):
        _change(shop, subscription, "pause", key="k", at=MID + DAY)


def test_who_lacks_the_permission_changes_nothing(shop: Shop) -> None:
    subscription = subscribed(shop)
    person = User.objects.create_user("ana", password=None, is_staff=True)
    person.groups.add(Group.objects.get(name="auditor"))
    asked = Asked(ChangeKind.PAUSE, Moment.NOW, "why", "k")

    with pytest.raises(NotAllowed):
        change_subscription(subscription=subscription, asked=asked, by=person, at=MID)


def test_terms_of_one_customer_are_theirs_alone(shop: Shop) -> None:
    subscription, other = subscribed(shop), customer_of(shop, "other")
    own = sell_plan(shop, "starter", fee_minor=4_000, customer=subscription.customer)
    anybodys = sell_plan(shop, "starter")
    plan = own.plan

    assert governing_plan_version(plan, MID, subscription.customer) == own
    assert governing_plan_version(plan, MID, other) == anybodys
    assert governing_plan_version(plan, MID) == anybodys
    with pytest.raises(Conflict, match="another customer's own terms"):
        subscribe(customer=other, plan_version=own, start_at=START, by=shop.maker, at=START)
    with pytest.raises(DatabaseError, match="made for another customer"), transaction.atomic():
        Subscription.objects.create(
            customer=other, plan_version=own, start_at=START, created_by=shop.maker,
            created_at=START,
        )  # fmt: skip
    _change(shop, subscription, "plan", plan=own)
    assert plan_version_at(subscription, MID) == own


def test_the_database_refuses_two_plans_at_one_instant(shop: Shop) -> None:
    subscription = subscribed(shop)
    change = _change(shop, subscription, "plan", Moment.PERIOD_END, plan=_larger(shop))

    change.pk, change.source_key = None, "another"
    with pytest.raises(IntegrityError, match="subscription_change_one_plan"), transaction.atomic():
        change.save(force_insert=True)


def test_a_period_asks_once_for_the_plan_that_it_keeps(
    shop: Shop, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    subscription = subscribed(shop)
    began = plan_version_of(billing_periods_of(subscription)[0])
    _change(shop, subscription, "plan", plan=_larger(shop))
    first, second = billing_periods_of(subscription)

    with django_assert_num_queries(6):  # Of each its subscription, the changes, and the plan.
        plans = [plan_version_of(period) for period in (first, second, first, second)]

    assert [plan == began for plan in plans] == [True, False, True, False]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE subscription_change SET effective_at = effective_at + interval '1 day'", "keeps"),
        ("UPDATE subscription_change SET undone_at = effective_at, undone_by_id = created_by_id,"
         " undo_reason = 'late'", "undone_before|began by then"),
        ("DELETE FROM subscription_change", "keeps"),
        ("UPDATE billing_period SET end_at = end_at + interval '1 day'"
             " WHERE uncut_end_at IS NULL", "opened with"),
        ("UPDATE billing_period SET end_at = start_at + interval '1 hour',"
         " uncut_end_at = coalesce(uncut_end_at, end_at) WHERE id IN"
         " (SELECT billing_period_id FROM rated_usage)", "beyond its new end"),
        ("INSERT INTO subscription_change (subscription_id, kind, plan_version_id, effective_at,"
         " credits_unused, reason, source_key, created_by_id, created_at, undo_reason)"
         " SELECT subscription_id, 'plan', plan_version_id, '2026-10-22', true, 'x', 'x',"
         " created_by_id, '2026-10-22', '' FROM subscription_change", "it keeps its plan"),
    ],
)  # fmt: skip
def test_the_database_keeps_changes_and_periods(shop: Shop, statement: str, found: str) -> None:
    subscription = subscribed(shop)
    use(shop, 5, START + 2 * DAY)
    _change(shop, subscription, "plan", plan=_larger(shop))

    with (
        pytest.raises(DatabaseError, match=found),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
