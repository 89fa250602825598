"""A period's usage is closed by its invoice, or by the end of its grace if there is none."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing_project.kernel.period import Period
from invoicing import checks, item_checks
from invoicing.services.closing import close_quiet_periods, is_usage_closed
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from metering.models import InvoicedUsage
from metering.selectors.late import invoiced_spans
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    cancel,
    first_period,
    overage_invoices,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db


def test_an_overage_invoice_closes_its_period_and_later_usage_says_so(shop: Shop) -> None:
    subscription = subscribed(shop, overage_price=Decimal("0.01"), included_credits=Decimal(0))
    use(shop, 1000, START + DAY, "req-1")
    draft_overage_invoices(by=shop.worker, at=END)
    assert not InvoicedUsage.objects.exists()  # A draft still takes usage in.
    finalize_due(by=shop.worker, at=END + DAY)
    [row] = InvoicedUsage.objects.all()
    assert (row.customer_id, row.start_at, row.end_at) == (subscription.customer_id, START, END)

    use(shop, 500, START + 2 * DAY, "late", known_at=END + 2 * DAY)
    draft_overage_invoices(by=shop.worker, at=END + 2 * DAY)
    finalize_due(by=shop.worker, at=END + 4 * DAY)

    first, second = overage_invoices(subscription)
    line = second.lines.get(kind="overage")
    assert first.lines.get(kind="overage").description == "Credits used beyond those granted"
    assert line.description == (
        "Credits used beyond those granted, added after the period was invoiced"
    )
    assert (line.service_start_at, line.service_end_at) == (START, END)
    assert InvoicedUsage.objects.count() == 1
    assert list(checks.invoiced_usage_is_known()) == []


def test_a_period_without_overage_is_closed_after_its_grace(shop: Shop) -> None:
    subscription = subscribed(shop, included_credits=Decimal(100))
    use(shop, 50, START + DAY, "req-1")
    customer_id = subscription.customer_id

    assert close_quiet_periods(at=END + DAY - timedelta(seconds=1)) == 0
    assert invoiced_spans([customer_id]) == {}
    assert close_quiet_periods(at=END + DAY) == 1
    assert close_quiet_periods(at=END + 2 * DAY) == 0
    assert invoiced_spans([customer_id]) == {customer_id: (Period(START, END),)}


def test_a_period_with_overage_waits_for_its_invoice(shop: Shop) -> None:
    subscribed(shop, included_credits=Decimal(0))
    use(shop, 50, START + DAY, "req-1")

    assert close_quiet_periods(at=END + 2 * DAY) == 0
    draft_overage_invoices(by=shop.worker, at=END + 2 * DAY)
    assert close_quiet_periods(at=END + 2 * DAY) == 0


def test_an_invoiced_period_that_metering_does_not_know_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribed(shop, included_credits=Decimal(0))
    use(shop, 50, START + DAY, "req-1")
    draft_overage_invoices(by=shop.worker, at=END)
    monkeypatch.setattr("invoicing.services.invoices.close_usage", lambda *_: None)
    finalize_due(by=shop.worker, at=END + DAY)

    [finding] = checks.invoiced_usage_is_known()
    assert "not closed for usage" in finding.message


def test_a_draft_that_lost_its_usage_does_not_keep_its_period_open(
    shop: Shop, settings: Any
) -> None:
    settings.BILLING_CLOCK = (END + 3 * DAY).isoformat()
    sold = subscribed(shop, overage_price=Decimal("0.5"))
    _lose_the_draft(shop)
    finalize_due(by=shop.worker, at=END + DAY)

    [finding] = item_checks.emptied_drafts_hold_nothing_up()
    assert "is not closed" in finding.message
    assert close_quiet_periods(at=END + DAY) == 1
    assert is_usage_closed(first_period(sold))
    assert list(item_checks.emptied_drafts_hold_nothing_up()) == []


def test_a_draft_that_lost_its_usage_takes_in_what_comes_and_waits_anew(shop: Shop) -> None:
    sold = subscribed(shop, overage_price=Decimal("0.5"))
    _lose_the_draft(shop)
    finalize_due(by=shop.worker, at=END + DAY)
    close_quiet_periods(at=END + DAY)

    late = END + 2 * DAY
    use(shop, 140, START + DAY, "late", known_at=late)
    draft_overage_invoices(by=shop.worker, at=late)
    finalize_due(by=shop.worker, at=late)
    draft_overage_invoices(by=shop.worker, at=late + timedelta(hours=1))

    [draft] = overage_invoices(sold)
    assert (draft.status, draft.total_minor, draft.ready_at) == ("draft", 2_000, late + DAY)
    assert draft.lines.get(kind="overage").description.endswith("after the period was invoiced")


def _lose_the_draft(shop: Shop) -> None:
    """Draft usage at the period's end, and cancel it within the grace."""
    use(shop, 140, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    cancel(shop, "req-1", END + timedelta(hours=1))
