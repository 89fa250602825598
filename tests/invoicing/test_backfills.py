"""A backfill's price: previewed as the rates, grants and invoices make it, and carried through."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing_project.kernel.approvals import approve
from billing_project.kernel.books import run_checks
from billing_project.kernel.effects import effect_in, simulate
from billing_project.kernel.models import PolicyChange, User
from credits.models import BillingPeriod
from invoicing.models import CreditNote, Invoice, ProposedCreditNote, Subscription
from invoicing.services.backfills import preview_backfill, submit_backfill
from invoicing.services.deciding import settle_proposals
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.proposals import follow_overcharges
from invoicing.tasks import work_backfills
from metering.events import EventInput
from metering.models import Backfill, Customer, MeterEvent
from metering.services.backfilling import apply_backfill, revert_backfill
from metering.services.backfills import Line, add_backfill_lines, start_backfill
from revrec.services.recognise import recognise_customer
from tests.console.backoffice import client_of, page_of
from tests.invoicing.builders import DAY, END, START, Shop, overage_invoices, rate, subscribed, use
from tests.invoicing.test_api import Api

pytestmark = pytest.mark.django_db
LATE = END + 3 * DAY


@pytest.fixture
def subscription(shop: Shop) -> Subscription:
    """Return a subscription with 2,000 credits used, all overage at 0.01."""
    subscription = subscribed(
        shop, overage_price=Decimal("0.01"), included_credits=Decimal(0), fee_minor=0
    )
    use(shop, 1000, START + DAY, "req-1")
    use(shop, 1000, START + 2 * DAY, "req-2")
    return subscription


def _bill(shop: Shop, at: datetime) -> None:
    draft_overage_invoices(by=shop.worker, at=at)
    finalize_due(by=shop.worker, at=at + DAY)


def _event(identifier: str, at: datetime, tokens: int) -> EventInput:
    return EventInput(
        event_name="llm_request", identifier=identifier, customer="acme", timestamp=at,
        properties={"model": "small", "output_tokens": str(tokens)},
    )  # fmt: skip


def _backfill(shop: Shop, *events: EventInput) -> Backfill:
    """Replace the period's first five days."""
    backfill = start_backfill(
        customer=Customer.objects.get(), start_at=START, end_at=START + 5 * DAY,
        reason="the collector counted wrong", by=shop.maker, at=LATE,
    )  # fmt: skip
    lines = [Line(number, event) for number, event in enumerate(events, start=1)]
    add_backfill_lines(backfill=backfill, lines=lines, by=shop.maker, at=LATE)
    return backfill


def _apply(shop: Shop, backfill: Backfill) -> None:
    proposal = submit_backfill(backfill=backfill, by=shop.maker, at=LATE)
    approve(change=proposal.policy_change, by=shop.approver, reason="measured", at=LATE)
    apply_backfill(backfill=backfill, by=shop.maker, at=LATE)
    rate(shop, "acme", LATE)


def _findings(shop: Shop) -> list[object]:
    recognise_customer(customer_id=Customer.objects.get().pk, by=shop.worker, at=LATE + 9 * DAY)
    known = {"kernel.commits_are_durable"}
    return [f for result in run_checks() for f in result.findings if result.name not in known]


def _money(backfill: Backfill, shop: Shop) -> dict[str, object]:
    [period] = preview_backfill(backfill=backfill, by=shop.maker, at=LATE).periods
    return period.as_content()


def test_less_usage_of_an_invoiced_period_becomes_a_proposed_note(
    shop: Shop, subscription: Subscription
) -> None:
    _bill(shop, END)
    backfill = _backfill(shop, _event("req-1", START + DAY, 400))

    row = _money(backfill, shop)

    assert (row["charge_before"], row["charge_after"]) == ("2000", "400")
    assert (row["overage_minor_before"], row["overage_minor_after"]) == (2000, 400)
    assert row["consequence"] == "a credit note over 16.00 USD is proposed"
    assert not ProposedCreditNote.objects.exists()
    assert _findings(shop) == []

    _apply(shop, backfill)
    follow_overcharges(by=shop.worker, at=LATE)
    proposal = ProposedCreditNote.objects.get()
    assert proposal.amount_minor == 1600
    assert proposal.facts["adjustments"] == [f"backfill {backfill.pk} (2 events)"]
    assert _findings(shop) == []

    revert_backfill(backfill=backfill, reason="the first count was right", by=shop.maker, at=LATE)
    rate(shop, "acme", LATE)
    follow_overcharges(by=shop.worker, at=LATE)
    proposal.refresh_from_db()
    assert (proposal.state, proposal.policy_change.status) == ("closed", "withdrawn")
    assert _findings(shop) == []


def test_its_approver_sees_money_and_quantities(
    shop: Shop, subscription: Subscription, approver: User
) -> None:
    _bill(shop, END)
    backfill = _backfill(shop, _event("req-1", START + DAY, 400))

    change = submit_backfill(backfill=backfill, by=shop.maker, at=LATE).policy_change

    assert change.effect is not None
    effect, _ = effect_in(change.effect)
    period = BillingPeriod.objects.get(end_at=END)
    assert effect.basis == "The preview of acme: events 1 amended, 1 cancelled"
    assert [(row.subject, f"{row.before} {row.after} {row.unit}") for row in effect.rows] == [
        (f"Credits used, {period}", "2000 400 credit"),
        (f"Overage, {period}: a credit note over 16.00 USD is proposed", "20 4 USD"),
        (f"output_tokens, small, {START + DAY:%Y-%m-%d}", "1000 400 token"),
        (f"output_tokens, small, {START + 2 * DAY:%Y-%m-%d}", "1000 0 token"),
    ]
    assert simulate(change) is None  # What was previewed is what is approved.
    page = client_of(approver).get(page_of(change)).content.decode()
    assert page_of(backfill) in page


def test_more_usage_of_an_invoiced_period_goes_to_a_further_invoice(
    shop: Shop, subscription: Subscription
) -> None:
    _bill(shop, END)
    backfill = _backfill(
        shop,
        _event("req-1", START + DAY, 1000),
        _event("req-2", START + 2 * DAY, 1000),
        _event("new", START + 3 * DAY, 500),
    )
    assert _money(backfill, shop)["consequence"] == "5.00 USD on a further invoice"

    _apply(shop, backfill)
    _bill(shop, LATE)

    first, second = overage_invoices(subscription)
    line = second.lines.get(kind="overage")
    assert (first.total_minor, second.total_minor) == (2000, 500)
    assert (line.service_start_at, line.service_end_at) == (START, END)
    assert "added after the period was invoiced" in line.description
    assert _findings(shop) == []


def test_a_note_that_was_issued_before_the_revert_is_claimed_again(
    shop: Shop, subscription: Subscription
) -> None:
    _bill(shop, END)
    backfill = _backfill(shop, _event("req-1", START + DAY, 400))
    _apply(shop, backfill)
    follow_overcharges(by=shop.worker, at=LATE)
    change = PolicyChange.objects.get(kind="credit_note")
    approve(change=change, by=shop.approver, reason="we owe it", at=LATE)
    settle_proposals(by=shop.worker, at=LATE)
    assert CreditNote.objects.get().total_minor == 1600

    revert_backfill(backfill=backfill, reason="the first count was right", by=shop.maker, at=LATE)
    rate(shop, "acme", LATE)
    _bill(shop, LATE)

    assert [invoice.total_minor for invoice in overage_invoices(subscription)] == [2000, 1600]
    assert _findings(shop) == []


def test_a_running_period_is_corrected_before_its_invoice(
    shop: Shop, subscription: Subscription
) -> None:
    backfill = _backfill(shop, _event("req-1", START + DAY, 400))
    assert _money(backfill, shop)["consequence"] == "on the period's invoice"

    _apply(shop, backfill)
    _bill(shop, LATE)

    [invoice] = overage_invoices(subscription)
    assert invoice.total_minor == 400
    assert Invoice.objects.count() == 1
    assert _findings(shop) == []


@pytest.mark.django_db(transaction=True)
def test_a_backfill_is_real_in_real_transactions(shop: Shop, subscription: Subscription) -> None:
    _bill(shop, END)
    backfill = _backfill(shop, *(_event(f"n-{i}", START + i * DAY / 10, 7) for i in range(40)))

    preview_backfill(backfill=backfill, by=shop.maker, at=LATE)
    assert MeterEvent.objects.count() == 2
    _apply(shop, backfill)
    assert MeterEvent.objects.count() == 42
    follow_overcharges(by=shop.worker, at=LATE + timedelta(hours=1))
    assert ProposedCreditNote.objects.get().amount_minor == 2000 - 280
    assert _findings(shop) == []
    revert_backfill(backfill=backfill, reason="no", by=shop.maker, at=LATE)
    rate(shop, "acme", LATE)
    assert _findings(shop) == []


def test_the_whole_way_over_the_api(shop: Shop, subscription: Subscription, settings: Any) -> None:
    settings.BILLING_CLOCK = LATE.isoformat()
    _bill(shop, END)
    api = Api("admin")
    body = {"customer": "acme", "start": "2026-10-21T00:00:00Z", "end": "2026-10-26T00:00:00Z",
            "reason": "counted wrong"}  # fmt: skip
    made = api.post("backfills", body, key="b-1")
    assert (made.status_code, made.json()["state"]) == (201, "open")
    assert api.post("backfills", body, key="b-1").json() == made.json()
    path = f"backfills/{made.json()['id']}"
    event = {"event_name": "llm_request", "identifier": "req-1", "customer": "acme",
             "timestamp": "2026-10-22T00:00:00Z",
             "properties": {"model": "small", "output_tokens": "400"}}  # fmt: skip
    bad = {**event, "identifier": "bad", "timestamp": "2026-11-22T00:00:00Z"}

    uploaded = api.post(f"{path}/events", {"events": [event, event, bad]})
    assert uploaded.json() == {"accepted": 1, "repeated": 1, "refused": 1}
    [fault] = api.get(f"{path}/faults").json()["data"]
    assert (fault["line"], fault["code"]) == (3, "out_of_range")
    assert api.post(f"{path}/submit", {}).status_code == 409
    assert api.post(f"{path}/discard", {"reason": "a bad line"}).json()["state"] == "discarded"

    path = f"backfills/{api.post('backfills', body, key='b-2').json()['id']}"
    api.post(f"{path}/events", event)
    effect = api.get(f"{path}/preview").json()
    assert (effect["amended"], effect["cancelled"]) == (1, 1)
    assert effect["money"][0]["consequence"] == "a credit note over 16.00 USD is proposed"
    asked = api.post(f"{path}/submit", {})
    assert (asked.status_code, asked["Location"]) == (202, f"/v1/{path}")
    assert (asked.json()["run"]["state"], asked.json()["decision"]) == ("waiting", None)
    assert api.post(f"{path}/events", event).json()["code"] == "backfill_is_worked_on"
    assert work_backfills() == 1
    assert api.get(path).json()["decision"] == "submitted"
    assert api.get(path).json()["run"]["percent"] == 100
    assert api.post(f"{path}/apply", {}).status_code == 409
    change = PolicyChange.objects.get(kind="backfill")
    approve(change=change, by=shop.approver, reason="measured", at=LATE)
    assert api.post(f"{path}/apply", {}).status_code == 202
    assert api.post(f"{path}/apply", {}).status_code == 202  # The same run.
    assert work_backfills() == 1
    applied = api.post(f"{path}/apply", {})
    assert applied.status_code == 200  # Nothing is left to do.
    assert (applied.json()["state"], applied.json()["adjustments"]) == ("applied", 2)
    assert api.post(f"{path}/revert", {"reason": "no"}).status_code == 202
    assert work_backfills() == 1
    assert api.get(path).json()["state"] == "reverted"
    rate(shop, "acme", LATE)
    assert len(api.get("backfills?customer=acme").json()["data"]) == 2
    assert api.get("backfills/99").status_code == 404
    assert _findings(shop) == []
