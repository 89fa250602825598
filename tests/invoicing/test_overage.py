"""Overage from rated usage to issued lines: grace, lateness, corrections, exact money."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import AuditEntry
from credits.models import RatedUsage
from invoicing.models import Invoice, InvoiceStatus, LineKind, LineUsage
from invoicing.selectors import overage_state, overcharged_periods, preview, unbilled_overage
from invoicing.services.invoices import draft_overage_invoices, finalize_due, finalize_invoice
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    at_once,
    cancel,
    dollar_card,
    first_period,
    open_shop,
    overage_invoices,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db

LATE = END + 3 * DAY


def test_overage_is_claimed_with_a_statement_of_the_credits(shop: Shop) -> None:
    subscription = subscribed(shop)
    use(shop, 150, START + DAY, "req-1", model="small")
    use(shop, 30, START + 2 * DAY, "req-2", model="large")

    assert draft_overage_invoices(by=shop.worker, at=END) == 1

    [invoice] = overage_invoices(subscription)
    assert (invoice.status, invoice.ready_at) == (InvoiceStatus.DRAFT, END + timedelta(hours=24))
    # 180 used - 100 included = 80 credits x 0.012 = 0.96.
    rows = [(r.kind, r.description, r.quantity, r.amount_minor) for r in invoice.lines.all()]
    assert rows == [
        ("overage", "Credits used beyond those granted", Decimal(80), 96),
        ("credits_used", "Output tokens, small", Decimal(150), 0),
        ("credits_used", "Output tokens, large", Decimal(30), 0),
    ]
    linked = LineUsage.objects.filter(kind=LineKind.OVERAGE)
    assert sum(row.rated_usage.overage for row in linked) == Decimal(80)
    assert LineUsage.objects.filter(kind=LineKind.CREDITS_USED).count() == 2


def test_a_period_is_not_drafted_before_it_ends_nor_twice(shop: Shop) -> None:
    subscribed(shop)
    use(shop, 150, START + DAY)

    assert draft_overage_invoices(by=shop.worker, at=END - timedelta(microseconds=1)) == 0
    assert draft_overage_invoices(by=shop.worker, at=END) == 1
    assert draft_overage_invoices(by=shop.worker, at=END) == 0


def test_a_period_without_overage_gets_no_invoice_but_states_its_credits(shop: Shop) -> None:
    subscription = subscribed(shop)
    use(shop, 99, START + DAY)

    assert draft_overage_invoices(by=shop.worker, at=END) == 0

    seen = preview(first_period(subscription))
    assert [(line.kind, line.quantity) for line in seen.lines] == [("credits_used", Decimal(99))]
    assert seen.total_minor == 0


def test_what_arrives_within_the_grace_is_in(shop: Shop) -> None:
    subscription = subscribed(shop)
    use(shop, 150, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    use(shop, 50, END - timedelta(hours=1), "req-2", known_at=END + timedelta(hours=20))

    assert finalize_due(by=shop.worker, at=END + timedelta(hours=23)) == 1  # Only the fee.
    assert finalize_due(by=shop.worker, at=END + timedelta(hours=24)) == 1

    [invoice] = overage_invoices(subscription)
    assert (invoice.number, invoice.total_minor) == ("INV-000002", 120)  # 100 x 0.012.


def test_what_is_late_goes_to_a_further_invoice_of_the_same_period(shop: Shop) -> None:
    subscription = subscribed(shop, overage_price=Decimal("0.004"))
    use(shop, 101, START + DAY)  # 1 credit: 0.004, nothing to pay yet.
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    use(shop, 1, START + 2 * DAY, "req-2", known_at=LATE)

    assert draft_overage_invoices(by=shop.worker, at=LATE) == 1

    first, second = overage_invoices(subscription)
    assert (first.status, first.total_minor) == (InvoiceStatus.PAID, 0)  # Nothing to pay.
    assert second.source_key == f"{first.source_key}:2"
    assert (second.service_start_at, second.service_end_at) == (START, END)
    assert second.ready_at == LATE + timedelta(hours=24)
    # 2 credits x 0.004 = 0.008: the cent comes with the later invoice.
    assert second.total_minor == 1
    finalize_due(by=shop.worker, at=second.ready_at)
    state = overage_state(first_period(subscription))
    assert (state.rated, state.invoiced, state.unbilled) == (Decimal(2), Decimal(2), Decimal(0))


def test_corrections_before_the_invoice_reduce_it(shop: Shop) -> None:
    subscription = subscribed(shop)
    use(shop, 150, START + DAY, "req-1")
    use(shop, 40, START + DAY, "req-2")
    draft_overage_invoices(by=shop.worker, at=END)
    cancel(shop, "req-2", END + timedelta(hours=1))

    [invoice] = overage_invoices(subscription)
    issued = finalize_invoice(invoice=invoice, by=shop.worker, at=END + DAY)

    assert issued.total_minor == 60  # 150 - 100 = 50 credits.


def test_a_draft_that_lost_all_its_usage_claims_nothing(shop: Shop) -> None:
    subscription = subscribed(shop)
    use(shop, 150, START + DAY, "req-1")
    draft_overage_invoices(by=shop.worker, at=END)
    cancel(shop, "req-1", END + timedelta(hours=1))
    [invoice] = overage_invoices(subscription)

    with pytest.raises(Conflict, match="nothing to invoice"):
        finalize_invoice(invoice=invoice, by=shop.worker, at=END + DAY)
    finalize_due(by=shop.worker, at=END + DAY)

    invoice.refresh_from_db()
    assert (invoice.status, invoice.number) == (InvoiceStatus.DRAFT, None)
    assert (invoice.total_minor, invoice.lines.count()) == (0, 0)  # Not due any more.
    use(shop, 200, START + DAY, "req-3", known_at=END + 2 * DAY)
    draft_overage_invoices(by=shop.worker, at=END + 2 * DAY)
    assert overage_invoices(subscription) == [invoice]  # The same draft takes it up.


def test_what_was_claimed_too_much_is_shown_and_not_claimed_back(shop: Shop) -> None:
    subscription = subscribed(shop)
    use(shop, 150, START + DAY, "req-1")
    use(shop, 40, START + DAY, "req-2")
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    cancel(shop, "req-2", LATE)

    assert draft_overage_invoices(by=shop.worker, at=LATE) == 0

    [state] = overcharged_periods()
    assert (state.billing_period, state.unbilled) == (first_period(subscription), Decimal(-40))
    assert state.unbilled_minor == -48  # 40 x 0.012.
    assert unbilled_overage() == []


def test_running_overage_is_unbilled(shop: Shop) -> None:
    subscription = subscribed(shop)
    use(shop, 150, START + DAY)

    [state] = unbilled_overage(subscription.customer)

    assert (state.unbilled, state.unbilled_minor) == (Decimal(50), 60)
    assert preview(first_period(subscription)).total_minor == 60


def test_one_period_that_cannot_be_claimed_does_not_hold_up_the_others(shop: Shop) -> None:
    subscribed(shop, "acme", overage_price=Decimal(10) ** 14)
    subscribed(shop, "globex")
    use(shop, 150, START + DAY, "req-1", "acme")
    use(shop, 150, START + DAY, "req-1", "globex")

    assert draft_overage_invoices(by=shop.worker, at=END) == 1


def test_drafting_is_written_down(shop: Shop) -> None:
    subscribed(shop)
    use(shop, 150, START + DAY)

    draft_overage_invoices(by=shop.worker, at=END)

    assert AuditEntry.objects.filter(action="draft_overage", facts__total_minor=60).exists()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM line_usage WHERE line_id IN"
        " (SELECT id FROM invoice_line WHERE invoice_id = %s)",
        "UPDATE line_usage SET kind = 'recurring' WHERE line_id IN"
        " (SELECT id FROM invoice_line WHERE invoice_id = %s)",
        "TRUNCATE line_usage",
    ],
)
def test_postgresql_freezes_the_usage_behind_an_issued_line(shop: Shop, statement: str) -> None:
    subscription = subscribed(shop)
    use(shop, 150, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    [invoice] = overage_invoices(subscription)

    params = [invoice.pk] if "%s" in statement else []
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, params)


def test_postgresql_refuses_more_usage_behind_an_issued_line(shop: Shop) -> None:
    subscription = subscribed(shop)
    use(shop, 150, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    use(shop, 7, START + DAY, "req-2", known_at=LATE)
    [invoice] = overage_invoices(subscription)
    line, late = invoice.lines.get(position=1), RatedUsage.objects.latest("id")

    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        LineUsage.objects.create(line=line, rated_usage=late, kind="overage")


def test_postgresql_bills_rated_usage_once(shop: Shop) -> None:
    subscription = subscribed(shop)
    use(shop, 150, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    [invoice] = overage_invoices(subscription)
    line = invoice.lines.get(kind=LineKind.OVERAGE)
    row = RatedUsage.objects.get()

    with pytest.raises(DatabaseError, match="line_usage_billed_once"), transaction.atomic():
        LineUsage.objects.create(line=line, rated_usage=row, kind=LineKind.OVERAGE)


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_draft_a_period_once() -> None:
    shop = open_shop()
    subscribed(shop)
    use(shop, 150, START + DAY)

    at_once(*[lambda: draft_overage_invoices(by=shop.worker, at=END)] * 2)

    assert Invoice.objects.filter(source_key__contains=":overage").count() == 1


def test_usage_that_is_priced_in_a_currency_is_claimed_in_it_one_to_one(shop: Shop) -> None:
    subscription = subscribed(
        shop, rate_card=dollar_card(shop), overage_price=Decimal(1), included_credits=Decimal(0)
    )
    use(shop, 150, START + DAY)
    use(shop, 101, START + 2 * DAY, "req-2")
    draft_overage_invoices(by=shop.worker, at=END)

    finalize_due(by=shop.worker, at=END + DAY)

    # 100 x 0.03 + 151 x 0.02 = 6.02 dollars.
    [invoice] = overage_invoices(subscription)
    assert (invoice.currency, invoice.total_minor) == ("USD", 602)
    line = invoice.lines.get(kind="overage")
    assert (line.quantity, line.unit, line.unit_price_unrounded) == (
        Decimal("6.02"), "usd", Decimal(1),
    )  # fmt: skip
