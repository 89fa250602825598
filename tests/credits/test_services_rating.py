"""Usage becomes charges, draws and overage, once, whatever the order and however often it runs."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from billing_project.kernel import outbox
from billing_project.kernel.books import run_checks
from billing_project.kernel.period import Period
from credits import checks
from credits.models import CreditGrant, LedgerKind, LedgerTransaction, RatedUsage
from credits.selectors import drawn_of_period, overage_of_period, unrated_windows
from credits.selectors.waiting import IS_NEXT, why_unrated
from credits.services.grants import void_grant
from credits.services.periods import open_billing_period
from credits.services.rating import rate_pending
from metering.models import UsageWindow
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import carry_idle_hours
from metering.services.meters import create_meter
from tests.credits.builders import DAY_10, NOVEMBER, Shop, figures, make_customer, rate

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def _ledger(grant: CreditGrant) -> list[str]:
    rows = LedgerTransaction.objects.filter(grant=grant).order_by("pk")
    return [f"{row.kind} {figures(row.credits)}" for row in rows]


def _left(grant: CreditGrant) -> Decimal:
    grant.refresh_from_db()
    return grant.remaining


def test_a_charge_is_drawn_first_and_overage_after(shop: Shop) -> None:
    grant = shop.grant("30")
    shop.use(input="100")  # 100 x 0.5 = 50 = 30 drawn + 20 overage

    assert shop.rate() == 1

    row = RatedUsage.objects.get()
    assert figures(row.quantity, row.charge, row.drawn, row.overage) == "100 50 30 20"
    assert row.tiers == [{"quantity": "100", "unit_price": "0.5", "charge": "50"}]
    assert _left(grant) == 0
    assert overage_of_period(shop.period()) == 20
    assert drawn_of_period(shop.period()) == 30


def test_a_draw_names_its_cost_policy_and_usage(shop: Shop) -> None:
    grant = shop.grant("1000", category="paid", price_minor=9_000)
    shop.use(input="3")  # 1.5 credits of 1,000 for USD 90: 90 x 1.5 / 1000 = 0.135

    shop.rate()

    entry = LedgerTransaction.objects.get(kind=LedgerKind.DRAWN)
    assert entry.credits == Decimal("-1.5")
    assert entry.cost_unrounded == Decimal("-0.135")
    assert entry.credit_policy is not None
    assert entry.credit_policy.number == 1
    assert entry.rated_usage == RatedUsage.objects.get()
    assert entry.effective_at == datetime.fromisoformat("2026-11-10T09:00:00+00:00")
    assert entry.recorded_at == shop.at
    assert entry.grant == grant


def test_running_again_changes_nothing(shop: Shop) -> None:
    shop.grant("30")
    shop.use(input="100")
    shop.rate()

    assert shop.rate() == 0
    assert RatedUsage.objects.count() == 1


def test_more_use_in_the_same_hour_is_rated_as_a_difference(shop: Shop) -> None:
    shop.use(input="3")
    shop.rate()
    shop.use(input="4")
    shop.rate()

    first, second = RatedUsage.objects.order_by("pk")
    assert figures(first.quantity, first.charge) == "3 1.5"
    assert figures(second.quantity, second.charge) == "4 2"
    assert (first.window_revision, second.window_revision) == (1, 2)


def test_rated_in_parts_comes_to_the_same_as_at_once(shop: Shop) -> None:
    # A third of a credit a token: 3 x 0.333333333333333333 = 1 (12 decimals), never 3 x 0.333...
    shop.version([rate("input", "0.333333333333333333")], NOVEMBER.start + timedelta(days=1))
    for hour in range(3):
        shop.use(DAY_10 + hour * HOUR, input="1")
        shop.rate()

    assert sum(row.charge for row in RatedUsage.objects.all()) == 1


def test_windows_are_rated_in_time_order_so_that_late_arrival_does_not_matter(shop: Shop) -> None:
    early = shop.grant("5", expires_at=DAY_10 - HOUR)
    shop.use(DAY_10 + HOUR, input="10")
    shop.use(DAY_10 - 5 * HOUR, input="10")

    shop.rate()

    assert _left(early) == 0  # The earlier hour burned it, though it was reported later.


def test_the_most_specific_rate_prices_the_usage(shop: Shop) -> None:
    shop.version(
        [rate("input", "1"), rate("input", "3", model="large")],
        NOVEMBER.start + timedelta(days=1),
    )
    shop.use(model="large", input="2")
    shop.use(model="small", input="2")

    shop.rate()

    assert set(RatedUsage.objects.values_list("charge", flat=True)) == {6, 2}


def test_each_window_is_priced_by_the_version_that_governed_then(shop: Shop) -> None:
    shop.version([rate("input", "1")], DAY_10)  # Window 9:00 starts before 9:30.
    shop.use(DAY_10, input="10")
    shop.use(DAY_10 + HOUR, input="10")

    shop.rate()

    first, second = RatedUsage.objects.order_by("service_at")
    assert figures(first.charge, second.charge) == "5 10"
    assert (first.rate_card_version.number, second.rate_card_version.number) == (1, 2)


def test_a_later_version_does_not_reprice_what_was_rated(shop: Shop) -> None:
    event = shop.use(input="10")
    shop.rate()
    shop.version([rate("input", "7")], NOVEMBER.start)  # Backdated by its approver.
    cancel_event(customer=shop.customer, identifier=event, reason="test", by=shop.maker, at=shop.at)

    shop.rate()

    assert overage_of_period(shop.period()) == 0  # Given back at the price that was charged.


def test_usage_outside_any_period_waits_and_is_visible(shop: Shop) -> None:
    shop.use(NOVEMBER.start - HOUR, input="10")

    assert shop.rate() == 0
    assert [window.quantity for window in unrated_windows(shop.customer.pk)] == [10]


def test_usage_is_rated_when_its_period_opens(shop: Shop) -> None:
    shop.use(NOVEMBER.start - HOUR, input="10")
    shop.rate()
    open_billing_period(
        customer=shop.customer, rate_card=shop.card, at=shop.at, source_key="october",
        period=Period(NOVEMBER.start - timedelta(days=31), NOVEMBER.start),
    )  # fmt: skip
    shop.version([rate("input", "1")], NOVEMBER.start - timedelta(days=31))

    assert rate_pending(by=shop.maker, at=shop.at) == 1


def test_usage_without_a_rate_waits_until_one_is_approved(shop: Shop) -> None:
    day_1 = NOVEMBER.start + timedelta(days=1)
    shop.version([rate("output", "1")], day_1)
    shop.use(input="10")
    assert rate_pending(by=shop.maker, at=shop.at) == 0
    assert outbox.waiting("usage_changed") == []

    shop.version([rate("input", "1")], day_1 + timedelta(days=1))

    assert rate_pending(by=shop.maker, at=shop.at) == 1
    assert outbox.waiting("rating_blocked") == []


def test_a_grant_that_comes_later_does_not_rerate_old_usage(shop: Shop) -> None:
    shop.use(input="100")
    shop.rate()
    grant = shop.grant("1000")
    shop.use(DAY_10 + HOUR, input="2")

    shop.rate()

    assert overage_of_period(shop.period()) == 50
    assert _left(grant) == 999


def test_a_grant_serves_the_hour_in_which_it_was_bought(shop: Shop) -> None:
    grant = shop.grant("100", effective_at=DAY_10)  # 9:30
    shop.use(DAY_10 + timedelta(minutes=1), input="2")
    shop.use(DAY_10 - HOUR, input="4")

    shop.rate()

    assert _left(grant) == 99
    assert overage_of_period(shop.period()) == 2  # The hour before is none of its.
    draw = LedgerTransaction.objects.get(kind=LedgerKind.DRAWN)
    assert draw.effective_at == DAY_10  # No balance of 9:15 falls below zero.
    assert not list(checks.draws_respect_grants())


def test_a_grant_serves_the_hour_in_which_it_expires_and_no_later_one(shop: Shop) -> None:
    grant = shop.grant("100", expires_at=DAY_10)  # 9:30
    shop.use(DAY_10 - timedelta(minutes=1), input="2")
    shop.use(DAY_10 + HOUR, input="4")

    shop.rate()

    assert _left(grant) == 99
    assert overage_of_period(shop.period()) == 2
    assert not list(checks.draws_respect_grants())


def test_a_grant_that_expires_with_the_hour_serves_none_after(shop: Shop) -> None:
    ten = DAY_10 + timedelta(minutes=30)
    before, after = shop.grant("100", expires_at=ten), shop.grant("100", effective_at=ten)
    shop.use(ten - timedelta(minutes=1), input="2")
    shop.use(ten, input="4")

    shop.rate()

    assert figures(_left(before), _left(after)) == "99 98"


def test_use_of_an_hour_that_was_rated_before_the_grant_came_stays_overage(shop: Shop) -> None:
    shop.use(DAY_10, input="2")
    shop.rate()
    grant = shop.grant("100", effective_at=DAY_10 + timedelta(minutes=5))
    shop.use(DAY_10 + timedelta(minutes=6), input="4")

    shop.rate()

    assert overage_of_period(shop.period()) == 1
    assert _left(grant) == 98


def test_a_period_that_starts_within_an_hour_takes_that_hours_usage(shop: Shop) -> None:
    start = DAY_10 + timedelta(minutes=17)
    other = make_customer("late", shop.maker, shop.at)
    late = Shop(other, shop.unit, shop.card, shop.maker, shop.approver, shop.at)
    period = late.period(Period(start, start + timedelta(days=1)))
    included = late.grant("10", category="included", effective_at=start, expires_at=period.end_at)
    late.use(start + timedelta(minutes=1), input="4")

    assert late.rate() == 1
    assert _left(included) == 8


def test_scoped_grants_serve_their_workspace_and_meters_only(shop: Shop) -> None:
    prod = shop.workspace("prod")
    of_prod = shop.grant("10", workspace=prod, priority=1)
    of_output = shop.grant("10", meter_codes=["output"], priority=2)
    shop.use(workspace="prod", input="2")  # 1 credit
    shop.use(workspace="test", output="2")  # 4 credits
    shop.use(workspace="test", input="2")  # 1 credit, nobody pays

    shop.rate()

    assert figures(_left(of_prod), _left(of_output)) == "9 6"
    assert overage_of_period(shop.period()) == 1


def test_a_cancelled_event_gives_credits_back_to_their_grant(shop: Shop) -> None:
    grant = shop.grant("100")
    event = shop.use(input="20")
    shop.rate()

    cancel_event(customer=shop.customer, identifier=event, reason="test", by=shop.maker, at=shop.at)
    shop.rate()

    assert _left(grant) == 100
    assert _ledger(grant) == ["granted 100", "drawn -10", "returned 10"]
    correction = RatedUsage.objects.latest("pk")
    assert figures(correction.quantity, correction.charge, correction.drawn) == "-20 -10 -10"


def test_a_correction_reverses_overage_before_it_gives_credits_back(shop: Shop) -> None:
    grant = shop.grant("8")
    event = shop.use(input="20")  # 10 = 8 drawn + 2 overage
    shop.rate()

    amend_event(
        customer=shop.customer, identifier=event, properties={"model": "small", "input": "14"},
        reason="test", by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.rate()

    # 14 x 0.5 = 7: 3 less, of which 2 were overage and 1 goes back.
    assert overage_of_period(shop.period()) == 0
    assert _left(grant) == 1


def test_credits_that_come_back_pay_for_overage_elsewhere(shop: Shop) -> None:
    grant = shop.grant("10")
    event = shop.use(input="20")  # 10 credits, drawn
    shop.use(DAY_10 + HOUR, output="3")  # 6 credits, overage
    shop.rate()

    cancel_event(customer=shop.customer, identifier=event, reason="test", by=shop.maker, at=shop.at)
    shop.rate()

    assert overage_of_period(shop.period()) == 0
    assert _left(grant) == 4
    cover = RatedUsage.objects.latest("pk")
    assert figures(cover.quantity, cover.charge, cover.drawn, cover.overage) == "0 0 6 -6"
    assert cover.window.meter.code == "output"


def test_credits_that_come_back_stay_within_their_grants_scope(shop: Shop) -> None:
    grant = shop.grant("10", meter_codes=["input"])
    event = shop.use(input="20")
    output = shop.use(DAY_10 + HOUR, output="3")
    shop.rate()

    for identifier in (event, output):
        cancel_event(
            customer=shop.customer, identifier=identifier, reason="test", by=shop.maker, at=shop.at
        )
        shop.rate()
        assert _left(grant) == 10

    assert overage_of_period(shop.period()) == 0


def test_credits_return_newest_first(shop: Shop) -> None:
    first, second = shop.grant("10", priority=1), shop.grant("10", priority=2)
    event = shop.use(input="30")  # 15: 10 of the first, 5 of the second
    shop.rate()

    amend_event(
        customer=shop.customer, identifier=event, properties={"model": "small", "input": "16"},
        reason="test", by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.rate()

    # 7 go back: the 5 of the second grant first, then 2 of the first.
    assert figures(_left(first), _left(second)) == "2 10"


def test_credits_that_return_to_a_voided_grant_are_taken_again(shop: Shop) -> None:
    grant = shop.grant("10")
    event = shop.use(input="10")
    shop.rate()
    void_grant(grant=grant, reason_code="mistake", by=shop.maker, at=shop.at)

    cancel_event(customer=shop.customer, identifier=event, reason="test", by=shop.maker, at=shop.at)
    shop.rate()

    assert _left(grant) == 0
    assert _ledger(grant)[-2:] == ["returned 5", "voided -5"]


def test_a_backlog_is_rated_in_chunks_and_leaves_no_note(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credits.services.rating.CHUNK", 2)
    for hour in range(5):
        shop.use(DAY_10 + hour * HOUR, input="2")

    assert shop.rate() == 5
    assert outbox.waiting("usage_changed") == []
    assert outbox.waiting("credits_changed") == [shop.customer.pk]


@pytest.mark.parametrize(
    ("aggregation", "values", "charge"),
    [
        ("max", ["3", "8", "5"], 8),  # The largest of the period, whatever the hour.
        ("min", ["5", "3", "8"], 3),  # What the first hour was charged too much is given back.
        ("last", ["3", "8", "5"], 5),
        ("unique", ["3", "8", "3"], 2),
    ],
)
def test_a_quantity_of_the_whole_period_is_charged_once(
    shop: Shop, aggregation: str, values: list[str], charge: int
) -> None:
    create_meter(
        code="peak", name="Peak", event_name="seats", aggregation=aggregation, unit="seat",
        value_property="seats", dimensions=(), by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.version([rate("peak", "1")], NOVEMBER.start + timedelta(days=1))
    for hour, value in enumerate(values):
        shop.use(DAY_10 + hour * HOUR, seats=value)
        shop.rate()

    assert sum(row.charge for row in RatedUsage.objects.all()) == charge


def test_levels_are_charged_by_the_time_that_they_last(shop: Shop) -> None:
    create_meter(
        code="seats", name="Seats", event_name="seats", aggregation="time_weighted_sum",
        unit="seat-hour", value_property="seats", by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.version([rate("seats", "1")], NOVEMBER.start + timedelta(days=1))
    shop.use(DAY_10, seats="3")
    shop.rate()
    shop.use(DAY_10 + timedelta(hours=3, minutes=30), seats="0")
    late = shop.use(DAY_10 + timedelta(hours=1), seats="5")
    carry_idle_hours(at=shop.at)
    shop.rate()
    assert sum(row.charge for row in RatedUsage.objects.all()) == Decimal("15.5")  # 3 + 5 x 2.5

    cancel_event(customer=shop.customer, identifier=late, reason="x", by=shop.maker, at=shop.at)
    shop.rate()

    assert sum(row.charge for row in RatedUsage.objects.all()) == Decimal("10.5")  # 3 x 3.5
    apps = ("metering.", "credits.")
    results = [result for result in run_checks() if result.name.startswith(apps)]
    assert [finding for result in results for finding in result.findings] == []


def test_a_quantity_of_the_whole_period_has_one_rate_for_all_its_hours(shop: Shop) -> None:
    """From 11 November on the card prices no peaks; this one was priced before, at 2 each."""
    create_meter(
        code="peak", name="peak", event_name="peak", aggregation="max", unit="token",
        value_property="peak", dimensions=("model",), by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.version([rate("peak", "2")], NOVEMBER.start + timedelta(days=1))
    shop.version([rate("input", "1")], DAY_10 + timedelta(days=1))
    shop.use(peak="5")
    shop.rate()

    shop.use(DAY_10 + timedelta(days=2), peak="9")
    shop.use(DAY_10 + timedelta(days=2), peak="3", model="large")
    named = UsageWindow.objects.get(quantity=9)
    assert why_unrated(shop.customer.pk, [named]) == [IS_NEXT]
    shop.rate()

    assert [row.charge for row in RatedUsage.objects.order_by("pk")] == [10, 8]
