"""I6: an event that comes while its period is being invoiced, or after, is claimed exactly once."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction

from invoicing.models import Invoice, InvoiceLine
from invoicing.services.invoices import draft_overage_invoices, finalize_due, finalize_invoice
from metering.models import InvoicedUsage, QuarantinedEvent
from metering.services.quarantine import replay_quarantine
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    customer_of,
    open_shop,
    overage_invoices,
    rate,
    subscribed,
    use,
)
from tests.metering.builders import an_event, send
from tests.metering.late import a_late_policy

pytestmark = pytest.mark.django_db(transaction=True)
USED_AT = START + DAY
KNOWN_AT = END + DAY


@pytest.fixture
def shop() -> Shop:
    """Return a shop that other sessions see."""
    return open_shop()


def _draft(shop: Shop) -> Invoice:
    """Draft what 150 credits of use come to beyond the 100 that are included."""
    subscription = subscribed(shop)
    use(shop, 150, USED_AT, "in-time")
    draft_overage_invoices(by=shop.worker, at=END)
    [draft] = overage_invoices(subscription)
    return draft


def _bill_again(shop: Shop) -> list[tuple[str, str]]:
    """Bill what is left, and return each claim of overage with its service dates."""
    draft_overage_invoices(by=shop.worker, at=KNOWN_AT + DAY)
    finalize_due(by=shop.worker, at=KNOWN_AT + 2 * DAY)
    lines = InvoiceLine.objects.filter(kind="overage", invoice__number__isnull=False)
    return [
        (f"{line.quantity:f}".rstrip("0").rstrip("."), f"{line.service_start_at:%Y-%m-%d}")
        for line in lines.order_by("id")
    ]


def test_i6_an_event_in_the_gap_of_an_issue_goes_to_a_further_invoice(shop: Shop) -> None:
    draft = _draft(shop)

    def report() -> None:
        use(shop, 40, USED_AT + timedelta(minutes=1), "in-the-gap", known_at=KNOWN_AT)
        connection.close()

    with transaction.atomic():
        finalize_invoice(invoice=draft, by=shop.worker, at=KNOWN_AT)
        sender = threading.Thread(target=report)
        sender.start()
        sender.join(0.4)
        waits = sender.is_alive()  # Stored already; its charge waits for the customer's lock.
    sender.join(10)

    assert waits
    assert _bill_again(shop) == [("50", f"{START:%Y-%m-%d}"), ("40", f"{START:%Y-%m-%d}")]
    assert _bill_again(shop) == [("50", f"{START:%Y-%m-%d}"), ("40", f"{START:%Y-%m-%d}")]


def test_i6_a_policy_keeps_what_comes_after_the_issue_until_a_person_decides(shop: Shop) -> None:
    draft = _draft(shop)
    a_late_policy("quarantine", START, customer_of(shop))
    finalize_invoice(invoice=draft, by=shop.worker, at=KNOWN_AT)
    late = an_event("late", timestamp=USED_AT, properties={"model": "small", "output_tokens": "40"})

    kept = [send(KNOWN_AT, late).quarantined for _ in range(2)]
    before = _bill_again(shop)
    replay_quarantine(by=shop.maker, at=KNOWN_AT + 2 * DAY, reason="period_closed")
    rate(shop, "acme", KNOWN_AT + 2 * DAY)
    draft_overage_invoices(by=shop.worker, at=KNOWN_AT + 3 * DAY)
    finalize_due(by=shop.worker, at=KNOWN_AT + 4 * DAY)

    assert kept == [1, 1]
    assert QuarantinedEvent.objects.get().state == "replayed"
    assert before == [("50", f"{START:%Y-%m-%d}")]
    assert [quantity for quantity, _ in _bill_again(shop)] == ["50", "40"]
    assert InvoicedUsage.objects.filter(end_at=END).count() == 1
