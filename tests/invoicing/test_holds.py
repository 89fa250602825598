"""Drafts that somebody looks at before they are issued, and accounts in doubt that runs pass by."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.db import DatabaseError
from django.urls import reverse

from billing_project.kernel.approvals import approve
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import ChainStep, StepFunction, User
from billing_project.kernel.money import Money
from billing_project.kernel.ownership import name_owner
from invoicing.approval import (
    BUILT_IN,
    Figures,
    Limits,
    for_finance,
    is_above_note_limit,
    is_out_of_bounds,
    is_too_often,
    needs_approval,
)
from invoicing.checks import numbers_gapless
from invoicing.models import BillingHold, Invoice
from invoicing.services import invoices as issuing
from invoicing.services import overage
from invoicing.services.holds import release_hold
from invoicing.services.invoices import draft_overage_invoices, finalize_due, finalize_invoice
from invoicing.services.markets import propose_tax_rate
from invoicing.services.packs import sell_credit_pack
from invoicing.services.subscriptions import subscribe
from metering.events import EventInput
from metering.services.capture import capture_events
from metering.services.meters import create_meter
from tests.console.backoffice import action_url, client_of, list_of, page_of, send, told
from tests.invoicing.builders import (
    DAY,
    END,
    LAUNCH,
    START,
    Shop,
    customer_of,
    fee_invoice,
    first_period,
    overage_invoices,
    rate,
    registered_in,
    sell_plan,
    set_limits,
    sold_pack,
    subscribed,
    use,
    words,
)

USD = Limits({"USD": 10_000}, approves_first=True, notes_above={"USD": 500})


def _draft(minor: int, *, lines: int = 1, is_first: bool = False) -> Figures:
    return Figures(Money(minor, "USD"), lines, is_first)


def test_limits_name_the_figures_that_exceed_them() -> None:
    assert needs_approval(_draft(10_001), USD) == "100.01 USD is above 100.00 USD"
    assert needs_approval(_draft(10_000), USD) == ""
    assert needs_approval(_draft(5, is_first=True), USD).startswith("the customer's first invoice")
    assert needs_approval(Figures(Money(10**9, "JPY"), 1, is_first=False), USD) == ""
    assert needs_approval(_draft(10**15, is_first=True), BUILT_IN) == ""
    assert "1001 lines" in is_out_of_bounds(_draft(1, lines=1001), BUILT_IN)
    assert (is_too_often(49, BUILT_IN), bool(is_too_often(50, BUILT_IN))) == ("", True)
    assert for_finance(Money(500, "USD"), USD) == ""
    assert "finance approves" in for_finance(Money(501, "USD"), USD)
    assert for_finance(Money(1, "JPY"), USD).startswith("no limit is stated for notes in JPY")
    assert "propose it" in for_finance(Money(1, "USD"), BUILT_IN)
    assert not is_above_note_limit(Money(10**9, "JPY"), USD)


def _release(hold: BillingHold, by: User, reason: str = "looked at it") -> BillingHold:
    return release_hold(hold=hold, reason=reason, by=by, at=END)


@pytest.mark.django_db
def test_an_invoice_above_the_limit_waits_for_an_approver(shop: Shop) -> None:
    set_limits(shop, approval_above={"USD": 4_899})
    draft = fee_invoice(subscribed(shop))

    assert finalize_due(by=shop.worker, at=START) == 0
    hold = BillingHold.objects.get(invoice=draft)
    assert (hold.cause, hold.detail) == ("approval", "49.00 USD is above 48.99 USD")
    with pytest.raises(Conflict, match=r"held: 49\.00 USD is above"):
        finalize_invoice(invoice=draft, by=shop.maker, at=START)
    with pytest.raises(NotAllowed):  # A maker may release what is in doubt, and approve nothing.
        _release(hold, shop.maker)
    _release(hold, shop.approver)

    assert finalize_due(by=shop.worker, at=START) == 1
    assert BillingHold.objects.count() == 1


@pytest.mark.django_db
def test_an_approval_is_for_the_figures_that_were_seen(shop: Shop) -> None:
    set_limits(shop, approval_above={"USD": 10})
    subscription = subscribed(shop)
    use(shop, 150, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    [draft] = overage_invoices(subscription)
    _release(BillingHold.objects.get(invoice=draft), shop.approver)
    use(shop, 50, START + DAY, "req-2", known_at=END + DAY)

    assert finalize_due(by=shop.worker, at=END + DAY) == 0

    newest = BillingHold.objects.filter(invoice=draft).first()
    assert newest is not None
    assert newest.detail == "1.20 USD is above 0.10 USD"  # 100 credits x 0.012, not 50.


@pytest.mark.django_db
def test_what_is_approved_is_what_is_claimed_with_the_tax_of_now(shop: Shop) -> None:
    set_limits(shop, approval_above={"EUR": 10_000})
    registered_in(shop, "DE", "0.1")
    customer = customer_of(shop, country="DE", currency="EUR")
    draft = sold_pack(shop, customer, 10_000)
    _release(BillingHold.objects.get(), shop.approver)
    row = propose_tax_rate(
        country="DE", rate=Decimal("0.2"), name="VAT", is_inclusive=False, has_reverse_charge=True,
        proposal=words(START + DAY), by=shop.maker, at=START,
    )  # fmt: skip
    approve(change=row.policy_change, by=shop.approver, reason="the law", at=START)

    assert finalize_due(by=shop.worker, at=START + DAY) == 0

    holds = BillingHold.objects.filter(invoice=draft).order_by("id")
    assert [hold.detail for hold in holds] == [
        "110.00 EUR is above 100.00 EUR", "120.00 EUR is above 100.00 EUR",
    ]  # fmt: skip


@pytest.mark.django_db
def test_nobody_approves_the_invoice_of_what_they_sold(shop: Shop) -> None:
    set_limits(shop, approval_above={"USD": 100})
    shop.approver.groups.add(*shop.maker.groups.all())
    sell_credit_pack(
        customer=customer_of(shop), pricing_unit=shop.unit, amount=Decimal(100), price_minor=900,
        key="pack", by=shop.approver, at=START,
    )  # fmt: skip
    hold = BillingHold.objects.get()

    page = client_of(shop.approver).get(reverse("console:approvals")).content.decode()
    assert "somebody else approves its invoice" in page
    client_of(shop.approver).post(
        action_url(hold, "release"), {"reason": "mine", "nonce": "n" * 20}
    )
    with pytest.raises(NotAllowed, match="you sold this"):
        _release(hold, shop.approver)
    hold.refresh_from_db()
    assert hold.released_at is None


@pytest.mark.django_db
def test_a_first_invoice_is_looked_at_and_a_pack_stays_a_draft_until_then(shop: Shop) -> None:
    set_limits(shop, approves_first=True)

    pack = sell_credit_pack(
        customer=customer_of(shop), pricing_unit=shop.unit, amount=Decimal(100), price_minor=900,
        key="pack", by=shop.maker, at=START,
    )  # fmt: skip

    assert (pack.status, pack.number) == ("draft", None)
    _release(BillingHold.objects.get(), shop.approver)
    assert finalize_due(by=shop.worker, at=END) == 1


@pytest.mark.django_db
def test_usage_that_is_neither_billed_nor_excluded_holds_its_invoice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    use(shop, 150, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    monkeypatch.setattr("tests.invoicing.builders.rate_customer", lambda **_: 0)
    monkeypatch.setattr(issuing, "rate_customer", lambda **_: 0)  # A fault: nothing is rated.
    use(shop, 5, START + 2 * DAY, "req-9")

    assert finalize_due(by=shop.worker, at=END + DAY) == 0

    [draft] = overage_invoices(subscription)
    hold = BillingHold.objects.get(invoice=draft)
    assert (hold.cause, hold.detail) == (
        "incomplete", f"usage of {first_period(subscription)} is not rated: waits to be rated",
    )  # fmt: skip
    _release(hold, shop.maker, "excluded: it is of a test")
    assert finalize_due(by=shop.worker, at=END + DAY) == 1


@pytest.mark.django_db
def test_usage_without_a_rate_is_excluded_with_that_reason(shop: Shop) -> None:
    subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    use(shop, 150, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    _report_unrated(shop)

    assert finalize_due(by=shop.worker, at=END + DAY) == 1
    assert not BillingHold.objects.exists()


def _report_unrated(shop: Shop) -> None:
    """Store usage of a meter without a rate."""
    create_meter(
        code="images", name="Images", event_name="image", aggregation="count", unit="image",
        by=shop.maker, at=LAUNCH,
    )  # fmt: skip
    event = EventInput(
        event_name="image", identifier="img-1", customer="acme", timestamp=START + 2 * DAY,
        properties={},
    )  # fmt: skip
    capture_events(items=[event], sender="test", at=END)
    rate(shop, "acme", END)


@pytest.mark.django_db
def test_a_fault_parks_its_account_and_the_run_goes_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = subscribed(shop), subscribed(shop, "globex")
    for name in ("acme", "globex"):
        use(shop, 150, START + DAY, customer=name)
    real = overage.fill

    def faulty(invoice: Invoice, period: Any, *known: Any) -> None:
        if invoice.customer_id == first.customer_id:
            raise Invalid("the amount is larger than an invoice may claim")
        real(invoice, period, *known)

    monkeypatch.setattr(overage, "fill", faulty)
    assert draft_overage_invoices(by=shop.worker, at=END) == 1

    hold = BillingHold.objects.get()
    assert (hold.cause, hold.customer) == ("fault", first.customer)
    assert len(overage_invoices(second)) == 1
    monkeypatch.undo()
    assert draft_overage_invoices(by=shop.worker, at=END) == 0  # Parked: no run takes it up.
    _release(hold, shop.maker)
    assert draft_overage_invoices(by=shop.worker, at=END) == 1
    assert len(overage_invoices(first)) == 1


@pytest.mark.django_db
def test_a_period_that_is_invoiced_again_and_again_is_stopped(shop: Shop) -> None:
    set_limits(shop, most_drafts=1)
    subscription = subscribed(shop)
    use(shop, 150, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    use(shop, 10, START + DAY, "req-2", known_at=END + DAY)

    assert draft_overage_invoices(by=shop.worker, at=END + DAY) == 0
    hold = BillingHold.objects.get(cause="bounds")
    assert "as many as there may be" in hold.detail
    _release(hold, shop.maker)
    assert draft_overage_invoices(by=shop.worker, at=END + DAY) == 1
    assert len(overage_invoices(subscription)) == 2


class _Killed(BaseException):
    """The process dies here."""


@pytest.mark.django_db
@pytest.mark.parametrize("step", ["tax_for_issue", "take_number", "apply_balance"])
@pytest.mark.parametrize("at_call", [1, 2, 3])
def test_a_run_that_dies_resumes_with_the_same_numbers(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str, at_call: int
) -> None:
    version = sell_plan(shop)
    drafts = [fee_invoice(_subscribed(shop, version, name)) for name in ("a", "b", "c")]
    real: Callable[..., Any] = getattr(issuing, step)
    calls = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at_call:
            raise _Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(issuing, step, dying)
    with pytest.raises(_Killed):
        finalize_due(by=shop.worker, at=START)
    monkeypatch.setattr(issuing, step, real)
    finalize_due(by=shop.worker, at=START)

    for draft in drafts:
        draft.refresh_from_db()
    assert [draft.number for draft in drafts] == ["INV-000001", "INV-000002", "INV-000003"]
    assert [*numbers_gapless()] == []


def _subscribed(shop: Shop, version: Any, name: str) -> Any:
    """Sell a plan to a new customer."""
    return subscribe(
        customer=customer_of(shop, name), plan_version=version, start_at=START, by=shop.maker,
        at=START,
    )  # fmt: skip


@pytest.mark.django_db
def test_the_queue_is_a_page_and_a_release_a_dialog(shop: Shop, settings: Any) -> None:
    settings.BILLING_CLOCK = START.isoformat()
    set_limits(shop, approval_above={"USD": 1})
    fee_invoice(subscribed(shop))
    finalize_due(by=shop.worker, at=START)
    hold, client = BillingHold.objects.get(), client_of(shop.approver)

    listed = client.get(list_of(BillingHold)).content.decode()
    assert "49.00 USD is above 0.01 USD" in listed
    assert "nobody is named" in listed
    assert client.post(action_url(hold, "release"), {"nonce": "a" * 20}).status_code == 422
    done = send(client, action_url(hold, "release"), reason="it is right")

    assert told(done).startswith("success: Released draft")
    assert "it is right" in client.get(page_of(hold)).content.decode()


@pytest.mark.django_db
def test_holds_are_released_once_and_never_edited(shop: Shop) -> None:
    set_limits(shop, approval_above={"USD": 1})
    fee_invoice(subscribed(shop))
    finalize_due(by=shop.worker, at=START)
    hold = _release(BillingHold.objects.get(), shop.approver)

    assert _release(hold, shop.approver).released_at == END
    with pytest.raises(Conflict, match="already"):
        _release(hold, shop.approver, "for another reason")
    with pytest.raises(DatabaseError):
        BillingHold.objects.update(detail="nothing")


@pytest.mark.django_db
def test_a_page_names_who_answered_when_it_was_asked_for(shop: Shop, rf: Any) -> None:
    set_limits(shop, approval_above={"USD": 4_899})
    fee_invoice(subscribed(shop))
    finalize_due(by=shop.worker, at=START)
    page = admin.site.get_model_admin(BillingHold)

    before = page.get_queryset(rf.get("/")).get()  # Its rows are written after the next began.
    name_owner(
        step=ChainStep.INVOICE, function=StepFunction.FINANCE, person=shop.approver, since_at=START,
        reason="new", by=shop.approver, at=START,
    )  # fmt: skip
    after = page.get_queryset(rf.get("/")).get()

    assert page.owner(before) == "nobody is named"  # type: ignore[attr-defined]
    assert page.owner(after) == str(shop.approver)  # type: ignore[attr-defined]
