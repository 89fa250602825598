"""An invoice that states credits used, for notes that give some of them back."""

from decimal import Decimal

from credits.services.grants import issue_grant
from invoicing.models import Invoice, InvoiceLine
from invoicing.services.invoices import draft_overage_invoices, finalize_invoice
from tests.invoicing.builders import DAY, END, START, Shop, overage_invoices, subscribed, use

LATER = END + 2 * DAY


def invoice_of_credits(shop: Shop) -> Invoice:
    """Invoice 180 credits used: 100 included, 50 of a pack (0.20 each), 30 beyond.

    "small" used 130 of them, "large" 50 (req-2), a day later.
    """
    subscription = subscribed(shop)
    issue_grant(
        customer=subscription.customer, category="paid", amount=Decimal(50),
        pricing_unit=shop.unit, price_minor=1000, currency="USD", effective_at=START,
        reason_code="sold", source_key="pack", by=shop.maker, at=START,
    )  # fmt: skip
    use(shop, 130, START + DAY)
    use(shop, 50, START + 2 * DAY, "req-2", model="large")
    draft_overage_invoices(by=shop.worker, at=LATER)
    return finalize_invoice(invoice=overage_invoices(subscription)[0], by=shop.maker, at=LATER)


def stated(invoice: Invoice, model: str = "small") -> InvoiceLine:
    """Return the line that states what a model used."""
    return invoice.lines.get(kind="credits_used", description=f"Output tokens, {model}")
