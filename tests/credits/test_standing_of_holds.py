"""What could go wrong between asking, using and counting: each once seen, none of them again."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.users import worker_user
from credits.models import Alert, LimitMode, LimitWindow, SpendCounter
from credits.selectors.prices import Prices
from credits.services.controls import ControlTerms, propose_controls, request_exception
from credits.services.holds import settle_hold
from credits.spend_checks import counters_follow_rated_usage
from metering.selectors.archive import month_named
from metering.services.archiving import archive_month
from metering.services.customers import update_customer
from tests.credits.builders import NOVEMBER, Shop, make_customer, window_of, words
from tests.credits.test_services_authorizing import NOON, ask, controls, credits_of, limit

pytestmark = pytest.mark.django_db


@pytest.fixture
def granted(shop: Shop) -> Shop:
    """Return a shop whose customer has 100 credits."""
    shop.grant("100")
    return shop


def test_a_hold_is_let_go_once_rated_however_busy_its_customer_is(granted: Shop) -> None:
    hold = ask(granted, "60").hold
    assert hold is not None
    settle_hold(hold=hold, identifier=granted.use(input="50"), at=NOON)  # Costs 25.
    granted.rate()
    granted.at += timedelta(seconds=1)
    granted.use(input="2")  # Waits to be rated, as some usage of a busy customer always does.

    assert ask(granted, "75").decision.is_allowed
    assert credits_of(granted).held == 75


def test_a_hold_waits_while_its_own_usage_does(granted: Shop) -> None:
    hold = ask(granted, "60").hold
    assert hold is not None
    settle_hold(hold=hold, identifier=granted.use(input="50"), at=NOON)

    assert not ask(granted, "75.1").decision.is_allowed
    assert credits_of(granted).held == 25


def test_a_hold_settled_by_an_archived_event_is_let_go(
    granted: Shop, settings: Any, tmp_path: Path
) -> None:
    settings.ARCHIVE_DIR = tmp_path
    identifier = granted.use(input="50")
    granted.rate()
    later = datetime(2027, 3, 10, 12, tzinfo=UTC)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    archive_month(month=month_named(date(2026, 11, 1)), by=worker_user(), at=later)
    hold = ask(granted, "60", later).hold
    assert hold is not None

    settled = settle_hold(hold=hold, identifier=identifier, at=later)

    assert settled.counted_at == later
    assert credits_of(granted, later).held == 0


def test_a_hold_whose_time_is_over_is_refused_before_anybody_ended_it(granted: Shop) -> None:
    hold = ask(granted, "60", ttl_seconds=60).hold
    assert hold is not None
    later = NOON + timedelta(seconds=60)
    assert ask(granted, "100", later).decision.is_allowed  # Promised to somebody else.

    with pytest.raises(Conflict, match="lapsed"):
        settle_hold(hold=hold, identifier="late", at=later)
    assert credits_of(granted, later).held == 100


def test_the_model_that_is_priced_is_the_one_that_is_ruled_on(granted: Shop) -> None:
    controls(granted, premium_models=["large"], instead={"large": "small"})
    limit(granted, "5", model="small")

    refused = ask(granted, estimate={"input": "2", "model": "large"})
    assert refused.decision.reason == "model_not_allowed"
    assert refused.authorization.model == "large"
    assert ask(granted, estimate={"input": "12", "model": "small"}).decision.limit == "cap"
    with pytest.raises(Invalid, match="of model large, not small") as other:
        ask(granted, model="small", estimate={"input": "2", "model": "large"})
    assert other.value.field == "estimate"
    with pytest.raises(Invalid, match="128"):
        ask(granted, estimate={"input": "2", "job": "j" * 129})


def test_a_charge_beyond_all_bounds_is_refused_and_blocks_nobody(granted: Shop) -> None:
    hold = ask(granted, "1").hold
    assert hold is not None

    beyond = ask(granted, estimate={"output": "9" * 24})  # Costs nearly 2 x 10^24.

    assert beyond.decision.reason == "no_rate"
    assert "beyond" in beyond.authorization.detail
    settle_hold(hold=hold, identifier=granted.use(output="9" * 24), at=NOON)
    assert ask(granted, "1").decision.is_allowed


def test_each_job_and_each_version_of_a_limit_has_its_own_warning(granted: Shop) -> None:
    limit(granted, "10", LimitWindow.JOB, mode=LimitMode.SOFT)
    ask(granted, "8", job="a")
    ask(granted, "8", job="b")
    limit(granted, "20", LimitWindow.JOB, mode=LimitMode.SOFT)
    ask(granted, "8", job="a")

    facts = Alert.objects.order_by("pk").values_list("facts", flat=True)
    assert [(row["job"], row["ceiling"]) for row in facts] == [
        ("a", "10"),
        ("b", "10"),
        ("a", "20"),
    ]


def test_counters_hold_where_a_customer_moves_to_another_time_zone(granted: Shop) -> None:
    limit(granted, "50")
    granted.use(datetime(2026, 11, 20, 8, tzinfo=UTC), input="4")
    granted.rate()
    ask(granted, "1")

    update_customer(
        customer=granted.customer, by=granted.maker, at=NOON, reason="moved",
        time_zone="America/New_York",
    )  # fmt: skip

    assert list(counters_follow_rated_usage()) == []
    ask(granted, "1")
    assert [row.credits for row in SpendCounter.objects.order_by("start_at")] == [2, 2]
    assert list(counters_follow_rated_usage()) == []


def test_a_rate_is_found_while_another_thread_forgets_the_matches(granted: Shop) -> None:
    class Forgotten(dict[Any, Any]):
        """Has lost all by the line after it was asked what it has."""

        def __contains__(self, key: object) -> bool:
            found = super().__contains__(key)
            self.clear()
            return found

    granted.use(input="2")
    prices = Prices.of_all()
    window = window_of(granted.customer)
    version = next(prices.standing(granted.customer.pk, granted.card.pk, NOON))
    first = prices.match(version, window)
    prices._matches = Forgotten(prices._matches)

    assert first is not None
    assert prices.match(version, window) == first


def test_a_customer_of_the_longest_name_has_rules_and_exceptions(shop: Shop) -> None:
    customer = make_customer("x" * 128, shop.maker, shop.at)
    proposal = words(NOVEMBER.start, NOVEMBER.end)

    policy = propose_controls(
        terms=ControlTerms(customer=customer), proposal=proposal, by=shop.maker, at=shop.at
    )
    exception = request_exception(
        customer=customer, model="large", proposal=proposal, by=shop.maker, at=shop.at
    )
    shop.approve(policy.policy_change)
    shop.approve(exception.policy_change)
    assert policy.policy_change.subject.endswith(":1")


@pytest.mark.parametrize(
    "moved",
    [
        "credits = 0", "parts = '{}'", "expires_at = expires_at - interval '1 minute'",
        "state = 'settled', ended_at = now(), identifier = 'b'",
    ],
)  # fmt: skip
def test_postgresql_lets_nobody_free_what_is_held(granted: Shop, moved: str) -> None:
    hold = ask(granted, "60").hold
    assert hold is not None
    settle_hold(hold=hold, identifier="a", at=NOON)  # Its event is not here yet.

    with (
        pytest.raises(DatabaseError, match="only its settlement says what it holds"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"UPDATE hold SET {moved}")
