"""The demo's customers with a commit, seats and outcomes: their invoices, and sound books."""

from datetime import timedelta

import pytest

from billing_project.console.demo.cast import Cast
from billing_project.console.demo.hybrid import add_hybrid_customers
from billing_project.kernel.books import run_checks
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from invoicing.models import CreditNote, InvoiceLine
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from revrec.services.recognise import recognise_pending
from tests.invoicing.builders import END, START, Shop, open_shop

pytestmark = pytest.mark.django_db

AT = END + timedelta(hours=3)


@pytest.fixture
def shop(db: None) -> Shop:
    """Return a shop with a rate card."""
    return open_shop()


def test_they_are_invoiced_as_the_demo_tells(
    shop: Shop, product: User, engineer: User, maker: User, approver: User, support: User
) -> None:
    cast = Cast(product, engineer, maker, approver, support)

    add_hybrid_customers(cast, shop.rate_card, Period(START, END), AT)
    draft_overage_invoices(by=maker, at=AT)
    finalize_due(by=maker, at=AT)
    recognise_pending(by=shop.worker, at=AT, limit=None)

    lines = InvoiceLine.objects.exclude(kind="credits_used").order_by("invoice_id", "position")
    assert [(line.kind, line.amount_minor, line.discount_minor) for line in lines] == [
        ("recurring", 15_920, 3_980),  # 199.00 less 20 %
        ("seat", 8_000, 2_000),  # 5 x 20.00 less 20 %
        ("one_off", 30_000, 0),
        ("seat", 2_880, 720),  # 3 x 18 of 30 days x 20.00 less 20 %
        ("commit_shortfall", 87_500, 0),
        ("outcome", 297, 0),  # Three of five were accepted.
    ]
    note = CreditNote.objects.get()
    assert note.total_minor == 640  # 2 x 6 of 30 days x 20.00 less 20 %
    assert [finding for result in run_checks() for finding in result.findings] == []
