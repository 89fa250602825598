"""Each check is silent on sound books and speaks on broken ones."""

from datetime import timedelta

import pytest
from django.db import connection

from billing_project.kernel import outbox
from billing_project.kernel.books import CheckFunction, Finding
from billing_project.kernel.models import OutboxMessage
from credits import checks
from metering.services.adjust import cancel_event
from metering.services.meters import create_meter
from tests.credits.builders import DAY_10, NOVEMBER, Shop, rate

pytestmark = pytest.mark.django_db
ALL = [
    checks.windows_are_rated,
    checks.period_quantities_are_rated,
    checks.no_window_is_forgotten,
    checks.charges_follow_rates,
    checks.charges_are_paid,
    checks.drawn_is_in_the_ledger,
    checks.overage_is_never_negative,
    checks.grants_follow_the_ledger,
    checks.grants_are_filled_once,
    checks.draws_respect_grants,
    checks.versions_are_approved,
    checks.costs_follow_prices,
]


@pytest.fixture
def busy(shop: Shop) -> Shop:
    """Return a shop with draws, overage, a correction, a peak meter and an expiry ahead."""
    create_meter(
        code="peak", name="Peak", event_name="seats", aggregation="max", unit="seat",
        value_property="seats", by=shop.maker, at=shop.at,
    )  # fmt: skip
    later = NOVEMBER.start + timedelta(days=1)
    shop.version([rate("input", "0.1"), rate("output", "2"), rate("peak", "1")], later)
    shop.grant("30", category="paid", price_minor=1_000, meter_codes=["input"])
    shop.grant("7", expires_at=NOVEMBER.end)
    event = shop.use(input="77")
    shop.use(DAY_10 + timedelta(hours=1), output="50")
    shop.use(DAY_10 + timedelta(hours=2), seats="4")
    shop.rate()
    cancel_event(customer=shop.customer, identifier=event, reason="test", by=shop.maker, at=shop.at)
    shop.use(DAY_10 + timedelta(hours=3), seats="9")
    shop.rate()
    return shop


def _findings() -> list[Finding]:
    return [finding for check in ALL for finding in check()]


def test_sound_books_have_no_findings(busy: Shop) -> None:
    assert _findings() == []


def test_usage_that_waits_is_no_finding(busy: Shop) -> None:
    busy.use(DAY_10, input="5")
    busy.use(DAY_10 + timedelta(hours=5), seats="12")

    assert outbox.waiting("usage_changed") == [busy.customer.pk]
    assert _findings() == []


def test_usage_that_nothing_will_take_up_is_a_finding(busy: Shop) -> None:
    busy.use(DAY_10, input="5")
    outbox.take("usage_changed", busy.customer.pk)

    (finding,) = checks.no_window_is_forgotten()

    assert finding.subject == f"customer:{busy.customer.pk}"


def test_a_window_that_no_note_names_is_a_finding(busy: Shop) -> None:
    busy.use(DAY_10, input="5")
    OutboxMessage.objects.update(parts=[0])

    (finding,) = checks.no_window_is_forgotten()

    assert finding.subject == f"customer:{busy.customer.pk}"


def _forge(table: str, forgery: str) -> None:
    """Change facts with the guards off; the test's rollback puts them on again."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(f"UPDATE {table} SET {forgery}")


@pytest.mark.parametrize(
    ("table", "forgery", "check"),
    [
        ("usage_window", "quantity = quantity + 1", checks.windows_are_rated),
        ("usage_window", "quantity = quantity + 1", checks.period_quantities_are_rated),
        ("rated_usage", "quantity = quantity + 1", checks.charges_follow_rates),
        ("rated_usage", "drawn = drawn + 1, overage = overage - 1", checks.drawn_is_in_the_ledger),
        ("rated_usage", "drawn = charge + 99, overage = -99", checks.overage_is_never_negative),
        ("rated_usage", "window_revision = 9", checks.totals_follow_rated_usage),
        ("window_rating", "quantity = quantity + 1", checks.totals_follow_rated_usage),
        ("rate_total", "charge = charge + 1", checks.totals_follow_rated_usage),
        ("credit_grant", "remaining = amount", checks.grants_follow_the_ledger),
        ("credit_grant", "amount = amount + 1", checks.grants_are_filled_once),
        ("credit_grant", "effective_at = now() + '1 year', expires_at = NULL",
         checks.draws_respect_grants),
        ("credit_grant", "meter_codes = '[\"peak\"]'", checks.draws_respect_grants),
        ("credit_grant", "price_minor = 999 WHERE price_minor > 0", checks.costs_follow_prices),
    ],
)  # fmt: skip
def test_a_forgery_behind_the_guards_is_found(
    busy: Shop, table: str, forgery: str, check: CheckFunction
) -> None:
    _forge(table, forgery)

    assert list(check()) != []


def test_a_version_that_lost_its_approval_is_found(busy: Shop) -> None:
    _forge("policy_change", "status = 'rejected' WHERE status = 'approved'")

    assert len(list(checks.versions_are_approved())) >= 2
