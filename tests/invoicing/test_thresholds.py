"""Overage that reaches its plan's threshold is invoiced before the period ends, once a crossing."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing_project.kernel.errors import Invalid
from invoicing.items import Item
from invoicing.models import Invoice, LineKind, Subscription
from invoicing.services.closing import close_quiet_periods, is_usage_closed
from invoicing.services.endings import void_and_regenerate
from invoicing.services.invoices import draft_overage_invoices, finalize_due, finalize_invoice
from invoicing.services.thresholds import invoice_reached
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    cancel,
    check_what_is_deferred,
    first_period,
    overage_invoices,
    propose,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db

COMMIT = Item("commit", "minimum", "Minimum", 5_000, kinds=("overage",))
GRACE = timedelta(hours=24)


def _sold(shop: Shop, *items: Item) -> Subscription:
    """Sell 100 credits, then USD 0.50 each, invoiced at USD 20.00."""
    return subscribed(shop, overage_price=Decimal("0.5"), threshold_minor=2_000, items=items)


def _totals(subscription: Subscription) -> list[int]:
    return [invoice.total_minor for invoice in overage_invoices(subscription)]


def test_each_crossing_is_invoiced_once(shop: Shop) -> None:
    sold = _sold(shop)
    use(shop, 139, START + DAY, "r1")  # 39 beyond: USD 19.50.
    assert invoice_reached(by=shop.worker, at=START + DAY) == 0

    use(shop, 3, START + 2 * DAY, "r2")  # USD 21.00.
    assert invoice_reached(by=shop.worker, at=START + 2 * DAY) == 1
    assert invoice_reached(by=shop.worker, at=START + 2 * DAY) == 0

    use(shop, 39, START + 3 * DAY, "r3")  # USD 19.50 since.
    assert invoice_reached(by=shop.worker, at=START + 3 * DAY) == 0
    use(shop, 1, START + 4 * DAY, "r4")
    assert invoice_reached(by=shop.worker, at=START + 4 * DAY) == 1
    assert _totals(sold) == [2_100, 2_000]
    assert all(invoice.number for invoice in overage_invoices(sold))
    check_what_is_deferred()


def test_the_period_goes_on_and_its_end_claims_the_rest(shop: Shop) -> None:
    sold = _sold(shop)
    use(shop, 150, START + DAY, "r1")
    invoice_reached(by=shop.worker, at=START + DAY)
    assert not is_usage_closed(first_period(sold))

    use(shop, 10, START + 2 * DAY, "r2")
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + GRACE)

    assert _totals(sold) == [2_500, 500]
    assert is_usage_closed(first_period(sold))
    last = overage_invoices(sold)[1].lines.get(kind=LineKind.OVERAGE)
    assert "added after" not in last.description


def test_a_period_with_nothing_after_its_threshold_closes_quietly(shop: Shop) -> None:
    sold = _sold(shop)
    use(shop, 150, START + DAY, "r1")
    invoice_reached(by=shop.worker, at=START + DAY)

    assert close_quiet_periods(at=END + GRACE) == 1
    assert is_usage_closed(first_period(sold))


def test_a_draft_that_lost_its_usage_does_not_switch_the_threshold_off(shop: Shop) -> None:
    sold = _sold(shop)
    use(shop, 150, START + DAY, "r1")
    invoice_reached(by=shop.worker, at=START + DAY)
    [invoice] = overage_invoices(sold)
    void_and_regenerate(invoice=invoice, reason="typo", by=shop.approver, at=START + 2 * DAY)
    cancel(shop, "r1", START + 2 * DAY)
    finalize_due(by=shop.worker, at=START + 4 * DAY)

    use(shop, 150, START + 5 * DAY, "r2")

    assert invoice_reached(by=shop.worker, at=START + 5 * DAY) == 1
    assert _totals(sold) == [2_500, 2_500]
    assert not is_usage_closed(first_period(sold))


def test_a_commit_counts_what_thresholds_claimed_and_waits_for_the_end(shop: Shop) -> None:
    sold = _sold(shop, COMMIT)
    use(shop, 150, START + DAY, "r1")
    invoice_reached(by=shop.worker, at=START + DAY)
    assert [line.kind for line in overage_invoices(sold)[0].lines.all()] == [
        "overage", "credits_used",
    ]  # fmt: skip

    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + GRACE)

    assert _totals(sold) == [2_500, 2_500]


def test_plans_without_a_threshold_wait_for_the_end(shop: Shop) -> None:
    subscribed(shop)
    use(shop, 10_000, START + DAY)

    assert invoice_reached(by=shop.worker, at=START + DAY) == 0
    assert not Invoice.objects.filter(source_key__contains="overage").exists()
    with pytest.raises(Invalid, match="threshold is at least 1"):
        propose(shop, "other", threshold_minor=0)


def test_what_is_regenerated_while_the_period_runs_leaves_its_end_open(shop: Shop) -> None:
    sold = _sold(shop, COMMIT)
    last_hours = END - timedelta(hours=5)  # The grace would reach beyond the end.
    use(shop, 150, last_hours, "r1")
    invoice_reached(by=shop.worker, at=last_hours)
    (wrong,) = overage_invoices(sold)

    again = void_and_regenerate(
        invoice=wrong, reason="wrong address", by=shop.worker, at=last_hours
    )
    again = finalize_invoice(invoice=again, by=shop.worker, at=last_hours)

    assert (again.total_minor, is_usage_closed(first_period(sold))) == (2_500, False)
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + GRACE)
    assert _totals(sold) == [2_500, 2_500, 2_500]  # Void, again, and what the commit lacks.
