"""One customer's fault stops nobody else's books, and does not stay hidden behind a note."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from billing_project.kernel import outbox
from billing_project.kernel.users import worker_user
from metering.models import Customer
from revrec import checks
from revrec.selectors.facts import PATIENCE, waiting_customers
from revrec.services.drafts import Run
from revrec.services.overage import accrue_overage
from revrec.services.recognise import recognise_pending
from tests.revrec.builders import Shop, balances, on

pytestmark = pytest.mark.django_db
NOTED = on("2026-01-01")


@pytest.fixture
def broken(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Customer:
    """Return a customer whose facts raise what nobody expected."""
    customer = shop.subscriber("2026-01-01", fee=3_100)

    def accrue(run: Run) -> int:
        if run.customer_id == customer.pk:
            raise OverflowError("date value out of range")
        return accrue_overage(run)

    monkeypatch.setattr("revrec.services.recognise.accrue_overage", accrue)
    return customer


def test_the_others_are_recognised(shop: Shop, broken: Customer) -> None:
    other = shop.subscriber("2026-01-01", fee=3_100)

    posted = recognise_pending(by=worker_user(), at=on("2026-01-02"))

    assert posted == 2  # The invoice and one day of its fee.
    assert balances(other) == {"1100": 3_100, "2120": -3_000, "4000": -100}
    assert balances(broken) == {}


def test_who_fails_keeps_the_note_and_waits_in_sight(broken: Customer, settings: Any) -> None:
    recognise_pending(by=worker_user(), at=NOTED)

    assert outbox.waiting("money_changed") == [broken.pk]
    assert not _findings(settings, NOTED + PATIENCE)
    [finding] = _findings(settings, NOTED + PATIENCE + timedelta(seconds=1))
    assert finding.startswith("invoice_line:")


def test_a_note_that_others_follow_is_as_old_as_its_first(broken: Customer) -> None:
    outbox.publish("credits_changed", [broken.pk], NOTED + PATIENCE)

    assert list(waiting_customers(NOTED + PATIENCE)) == [broken.pk]
    assert list(waiting_customers(NOTED + 2 * PATIENCE)) == []
    assert list(waiting_customers()) == [broken.pk]


def _findings(settings: Any, at: datetime) -> list[str]:
    settings.BILLING_CLOCK = at.isoformat()
    return [finding.subject for finding in checks.facts_are_accounted()]
