"""A close takes in all that waits, stops at a fault, and stands whatever accounts are called."""

from datetime import date

import pytest

from billing_project.kernel import outbox
from metering.events import EventInput
from metering.models import Customer
from metering.services.capture import capture_events
from revrec import checks
from revrec.models import AccountingPeriod, LedgerAccount, PeriodStatus
from revrec.selectors.facts import customers_to_recognise
from revrec.services import periods
from revrec.services.drafts import Run
from revrec.services.periods import ensure_period
from revrec.services.recognise import recognise_customer
from tests.revrec.builders import Shop, balances, close_month, on

pytestmark = pytest.mark.django_db
JANUARY = date(2026, 1, 1)


def _close() -> AccountingPeriod:
    return close_month(JANUARY, "2026-02-01")


def _report(customer: Customer, amount: str, at: str) -> None:
    event = EventInput(
        event_name="use", identifier="waits", customer=customer.external_id, timestamp=on(at),
        properties={"amount": amount},
    )  # fmt: skip
    assert capture_events(items=[event], sender="tests", at=on(at)).accepted == 1


def test_usage_that_waits_is_rated_before_the_month_closes(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    _report(customer, "700", "2026-01-28T10")  # Neither aggregated nor rated yet.

    _close()

    assert balances(customer, until=date(2026, 2, 1)) == {"1200": 700, "4020": -700}


def test_all_who_wait_are_recognised_under_the_lock(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers = [shop.subscriber("2026-01-01", fee=3_100) for _ in range(3)]
    monkeypatch.setattr(periods, "_catch_up", lambda period, by, at: None)

    _close()

    assert customers_to_recognise(on("2026-02-01")) == []
    for customer in customers:
        assert balances(customer) == {"1100": 3_100, "4000": -3_100}


def test_who_appears_while_the_others_are_recognised_is_recognised_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (shop.subscriber("2026-01-01", fee=3_100) for _ in range(2))
    outbox.take("money_changed", second.pk)

    def recognise_then_ring(**words: object) -> int:
        if words["customer_id"] == first.pk:
            outbox.publish("money_changed", [second.pk], on("2026-02-01"))
        return recognise_customer(**words)  # type: ignore[arg-type]

    monkeypatch.setattr(periods, "_catch_up", lambda period, by, at: None)
    monkeypatch.setattr(periods, "recognise_customer", recognise_then_ring)

    _close()

    assert balances(second) == {"1100": 3_100, "4000": -3_100}


def test_a_fault_keeps_the_month_open(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.subscriber("2026-01-01", fee=3_100)

    def fail(run: Run) -> int:
        raise OverflowError("date value out of range")

    monkeypatch.setattr("revrec.services.recognise.accrue_overage", fail)

    with pytest.raises(OverflowError):
        _close()
    assert ensure_period(JANUARY).status == PeriodStatus.SOFT


def test_a_closed_month_stands_when_an_account_gets_another_name(shop: Shop) -> None:
    shop.subscriber("2026-01-01", fee=3_100)
    period = _close()

    LedgerAccount.objects.filter(pk="1100").update(name="Receivables")

    assert not list(checks.closes_stand())
    assert [row["account"] for row in period.trial_balance] == ["1100", "2120", "4000"]
