"""A period's usage is closed by its invoice, or by the end of its grace if there is none."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing_project.kernel.period import Period
from invoicing import checks
from invoicing.services.closing import close_quiet_periods
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from metering.models import InvoicedUsage
from metering.selectors.late import invoiced_spans
from tests.invoicing.builders import DAY, END, START, Shop, overage_invoices, subscribed, use

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
