"""The whole chain for one small customer: usage to journal entries, made by the services."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing_project.console.lineage import Ref, start_of
from invoicing.crediting import Settlement
from invoicing.models import CreditNote, Invoice, LineKind, Payment, Subscription
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.invoices import finalize_due
from invoicing.services.overage import draft_overage_invoices
from invoicing.services.packs import sell_credit_pack
from invoicing.services.payments import record_payment
from invoicing.services.refunds import record_refund, record_refund_failure
from revrec.services.recognise import recognise_customer
from tests.invoicing.builders import (
    END,
    START,
    Shop,
    fee_invoice,
    open_shop,
    overage_invoices,
    subscribed,
    use,
)

USED_AT = START + timedelta(days=2, minutes=5)
CLOSED_AT = END + timedelta(hours=25)  # A day of grace has passed.


@dataclass(frozen=True)
class Chain:
    """What a test names of the chain."""

    shop: Shop
    subscription: Subscription
    overage: Invoice
    payment: Payment
    note: CreditNote


def run_chain(*others: str) -> Chain:
    """Bill acme for one period.

    req-1 uses 60 of the 100 included credits; req-2, an hour later, the other 40 and 50 of
    overage: 50 x USD 0.012 = USD 0.60. The fee of USD 49 is paid, the overage loses USD 0.10.
    Others use as much, so that a walk that strays is seen.
    """
    shop = open_shop()
    subscription = subscribed(shop)
    for other in others:
        subscribed(shop, other)
    finalize_due(by=shop.worker, at=START)
    for customer in ("acme", *others):
        use(shop, 60, USED_AT, "req-1", customer)
        use(shop, 90, USED_AT + timedelta(hours=1), "req-2", customer)
    payment = _pay_fee(shop, subscription)
    overage = close_period(shop, subscription)
    note = _credit_overage(shop, overage)
    recognise(shop, subscription, CLOSED_AT)
    return Chain(shop, subscription, overage, payment, note)


def settle(chain: Chain) -> None:
    """Credit half of the paid fee: a refund of USD 20.00 fails and pays for a pack."""
    shop, fee = chain.shop, chain.payment.invoice
    note = issue_credit_note(
        invoice=fee, lines=[(fee.lines.get(), 2500)], reason="goodwill", memo="", key="note-2",
        by=shop.maker, at=CLOSED_AT, settlement=Settlement(refund_minor=2000, balance_minor=500),
    )  # fmt: skip
    refund = record_refund(
        credit_note=note, amount_minor=2000, method="card", reference="re_1",
        refunded_at=CLOSED_AT, key="refund-1", by=shop.maker, at=CLOSED_AT,
    )  # fmt: skip
    record_refund_failure(
        refund=refund, reason="account closed", failed_at=CLOSED_AT, by=shop.maker, at=CLOSED_AT
    )
    sell_credit_pack(
        customer=fee.customer, pricing_unit=shop.unit, amount=Decimal(10), price_minor=2500,
        key="pack-1", by=shop.maker, at=CLOSED_AT,
    )  # fmt: skip
    recognise(shop, chain.subscription, CLOSED_AT)


def close_period(shop: Shop, subscription: Subscription) -> Invoice:
    """Invoice the first period's overage and return the customer's invoice."""
    draft_overage_invoices(by=shop.worker, at=CLOSED_AT)
    finalize_due(by=shop.worker, at=CLOSED_AT)
    (overage,) = overage_invoices(subscription)
    return overage


def recognise(shop: Shop, subscription: Subscription, at: datetime) -> None:
    """Post what the customer's facts earned."""
    recognise_customer(customer_id=subscription.customer_id, by=shop.worker, at=at)


def event(identifier: str, customer: str = "acme") -> Ref:
    """Return one event as a place to start from."""
    (ref,) = start_of("event", f"{customer}/{identifier}")
    return ref


def _pay_fee(shop: Shop, subscription: Subscription) -> Payment:
    fee = fee_invoice(subscription)
    return record_payment(
        invoice=fee, amount_minor=fee.total_minor, method="bank_transfer", reference="tr-1",
        paid_at=USED_AT, by=shop.worker, at=USED_AT,
    )  # fmt: skip


def _credit_overage(shop: Shop, overage: Invoice) -> CreditNote:
    line = overage.lines.get(kind=LineKind.OVERAGE)
    return issue_credit_note(
        invoice=overage, lines=[(line, 10)], reason="goodwill", memo="", key="note-1",
        by=shop.maker, at=CLOSED_AT,
    )  # fmt: skip
