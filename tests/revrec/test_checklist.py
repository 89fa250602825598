"""What keeps a month open is named; who answers for it may sign for it, and nobody else."""

from datetime import date

import pytest
from django.db import connection

from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import ChainStep, StepFunction, User
from billing_project.kernel.ownership import name_owner
from invoicing.services.invoices import draft_overage_invoices
from invoicing.services.subscriptions import renew_due
from metering.events import EventInput
from metering.services.capture import capture_events
from revrec.models import AccountingPeriod, PeriodStatus
from revrec.selectors.closing import close_checklist
from revrec.services.months import ensure_period
from revrec.services.periods import propose_close, sign_exception
from tests.revrec.builders import Shop, close_month, on, recognise

pytestmark = pytest.mark.django_db
JANUARY = date(2026, 1, 1)
AT = on("2026-02-01")


def _says() -> dict[str, str]:
    return {item.code: item.says for item in close_checklist(ensure_period(JANUARY), AT)
            if not item.is_met}  # fmt: skip


def _draft(shop: Shop) -> None:
    """Leave an overage invoice of January in its grace."""
    shop.use(shop.subscriber("2026-01-01", overage="0.01"), "700", "2026-01-28T10")
    renew_due(by=shop.maker, at=AT)
    draft_overage_invoices(by=shop.maker, at=AT)


def _strange_event() -> None:
    event = EventInput(
        event_name="use", identifier="x", customer="nobody", timestamp=on("2026-01-28"),
        properties={"amount": "1"},
    )  # fmt: skip
    assert capture_events(items=[event], sender="tests", at=on("2026-01-28")).quarantined == 1


def _owner(person: User, step: ChainStep) -> None:
    name_owner(
        step=step, function=StepFunction.FINANCE, person=person, since_at=on("2026-01-01"),
        reason="answers for it", by=person, at=on("2026-01-01"),
    )  # fmt: skip


def test_a_month_with_nothing_left_has_its_checklist_met() -> None:
    period = close_month(JANUARY, AT)

    assert [row["says"] for row in period.checklist] == [""] * len(period.checklist)
    assert {row["item"] for row in period.checklist} >= {"lag", "quarantine", "drafts", "ties"}


def test_a_draft_keeps_its_month_open(shop: Shop) -> None:
    _draft(shop)

    with pytest.raises(Conflict, match="1 invoice is a draft") as refused:
        close_month(JANUARY, AT)

    assert refused.value.code == "close_findings"
    assert ensure_period(JANUARY).status == PeriodStatus.SOFT
    # A month later it is not January's draft alone that is asked about.
    assert close_month("2025-12-01", AT).status == PeriodStatus.CLOSED


def test_quarantine_that_nobody_looks_after_keeps_a_month_open(shop: Shop) -> None:
    _strange_event()

    with pytest.raises(Conflict, match="nobody looks after unknown customer nobody"):
        close_month(JANUARY, AT)


def test_what_waits_is_named_before_the_close_takes_it_in(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    event = EventInput(
        event_name="use", identifier="waits", customer=customer.external_id,
        timestamp=on("2026-01-28"), properties={"amount": "1"},
    )  # fmt: skip
    capture_events(items=[event], sender="tests", at=on("2026-01-28"))

    assert _says() == {
        "lag": "1 batch is not aggregated",
        "recognised": "1 customer is not recognised",
    }


def test_a_ledger_that_does_not_tie_keeps_a_month_open(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    recognise(customer, "2026-02-01")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE performance_obligation DISABLE TRIGGER USER")
        cursor.execute("UPDATE performance_obligation SET price_minor = price_minor + 1")

    says = _says()

    assert set(says) == {"ties"}
    assert "expected 1, found 0" in says["ties"]


def test_the_owner_of_the_step_signs_for_a_finding(shop: Shop, approver: User) -> None:
    _strange_event()
    _owner(approver, ChainStep.CAPTURE)

    row = sign_exception(
        period=ensure_period(JANUARY), item="quarantine", by=approver, at=AT, reason="a test key"
    )
    period = close_month(JANUARY, AT)

    [kept] = [item for item in period.checklist if item["says"]]
    assert (kept["item"], kept["signed_by"], kept["reason"]) == (
        "quarantine", str(approver), "a test key",
    )  # fmt: skip
    assert row.says == kept["says"]


def test_an_exception_covers_what_it_said_and_no_more(shop: Shop, approver: User) -> None:
    _strange_event()
    _owner(approver, ChainStep.CAPTURE)
    sign_exception(
        period=ensure_period(JANUARY), item="quarantine", by=approver, at=AT, reason="a test key"
    )
    event = EventInput(
        event_name="use", identifier="y", customer="somebody", timestamp=on("2026-01-28"),
        properties={"amount": "1"},
    )  # fmt: skip
    capture_events(items=[event], sender="tests", at=on("2026-01-28"))

    with pytest.raises(Conflict, match="somebody"):
        close_month(JANUARY, AT)


def _sign(period: AccountingPeriod, item: str, by: User, reason: str = "it is fine") -> None:
    sign_exception(period=period, item=item, by=by, at=AT, reason=reason)


def test_nobody_else_signs_and_not_for_everything(shop: Shop, maker: User, approver: User) -> None:
    _strange_event()
    january, march = ensure_period(JANUARY), ensure_period(date(2026, 3, 1))
    with pytest.raises(NotAllowed, match="name an owner first"):
        _sign(january, "quarantine", approver)
    _owner(approver, ChainStep.CAPTURE)

    with pytest.raises(NotAllowed, match=str(approver)):
        _sign(january, "quarantine", maker)
    with pytest.raises(Invalid, match="no item"):
        _sign(january, "luck", approver)
    with pytest.raises(Invalid, match="reason"):
        _sign(january, "quarantine", approver, " ")
    with pytest.raises(Conflict, match="nothing is missing"):
        _sign(january, "drafts", approver)
    with pytest.raises(Conflict, match="no exception"):
        _sign(march, "ended", approver)


def test_a_proposal_that_waits_changes_nothing_of_the_checklist(shop: Shop) -> None:
    before = _says()

    propose_close(period=ensure_period(JANUARY), by=shop.maker, at=AT)

    assert _says() == before
