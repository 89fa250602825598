"""Sell credits ahead of use: invoiced at once, granted once the invoice is fully paid."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from billing_project.kernel.period import Period, midnight
from billing_project.kernel.quantity import round_unrounded
from credits.models import PricingUnit
from invoicing.lines import AmountOutOfBounds, Line, pack_line
from invoicing.models import Invoice, Subscription
from invoicing.selectors import items_of
from invoicing.selectors.entities import entity_id_of
from invoicing.selectors.markets import open_gate
from invoicing.selectors.plans import plan_version_at
from invoicing.services.drafts import Draft, create_draft, write_lines
from invoicing.services.invoices import issue_unless_held
from invoicing.services.locks import require_permission
from metering.models import Customer
from metering.services.customers import lock_customer, refuse_closed

_LONGEST_KEY = 100


@transaction.atomic
def sell_credit_pack(
    *,
    customer: Customer,
    pricing_unit: PricingUnit,
    amount: Decimal,
    price_minor: int,
    key: str,
    by: User,
    at: datetime,
) -> Invoice:
    """Issue the invoice of a credit pack; its credits come with the payment.

    Where the policy asks for an approval, it stays a draft until then.

    Args:
        amount: Credits, > 0, at most 12 decimals.
        price_minor: In the customer's currency, > 0; credits without a price are a grant.
        key: The caller's name for this sale; the same again returns the same invoice.

    Raises:
        Invalid: amount, price or key out of bounds.
        Conflict: the customer is closed, or their market is not open.
        IdempotencyConflict: the key sold something else before.
    """
    if not 0 < len(key) <= _LONGEST_KEY:
        raise Invalid(f"a sale's key has 1 to {_LONGEST_KEY} characters")
    locked = lock_customer(customer.pk)
    line = _line(pricing_unit, amount, Money(price_minor, locked.currency))
    source_key = f"credit_pack:{key}"
    before = Invoice.objects.filter(source_key=source_key).first()
    if before is not None:
        return _same_sale(before, locked, line)
    refuse_closed(locked)
    open_gate(locked, locked.currency, at, entity_id_of(locked))
    service = _local_day(locked, at)
    draft = create_draft(Draft(locked, None, locked.currency, service, at, source_key), at)
    write_lines(draft, [line])
    audit.record(by=by, at=at, action="sell_credit_pack", subject=draft, key=key)
    return issue_unless_held(invoice=draft, by=by, at=at)


def buy_pack(*, subscription: Subscription, code: str, key: str, by: User, at: datetime) -> Invoice:
    """Sell a pack of the plan that governs now, at its price; see `sell_credit_pack`.

    Raises:
        NotAllowed: a person without the permission.
        Conflict: the plan sells no such pack; the message names those that it sells.
    """
    require_permission(by, "invoicing.manage_subscription", "change subscriptions")
    version = plan_version_at(subscription, at)
    packs = {item.code: item for item in items_of(version, "credit_pack")}
    pack = packs.get(code)
    if pack is None or pack.credits is None:
        sold = f"it sells {', '.join(packs)}" if packs else "it sells none"
        raise Conflict(f"{version} sells no pack {code[:40]}: {sold}")
    return sell_credit_pack(
        customer=subscription.customer,
        pricing_unit=version.rate_card.pricing_unit,
        amount=pack.credits,
        price_minor=pack.amount_minor,
        key=key,
        by=by,
        at=at,
    )


def _line(pricing_unit: PricingUnit, amount: Decimal, price: Money) -> Line:
    if not (amount.is_finite() and 0 < amount < Decimal(10) ** 24):
        raise Invalid("a pack has more than 0 and less than 10^24 credits")
    if round_unrounded(amount) != amount:
        raise Invalid("a pack's credits have at most 12 decimals")
    if price.amount_minor <= 0:
        raise Invalid("a pack has a price; credits without one are a promotional grant")
    try:
        return pack_line(pricing_unit.code, amount, price)
    except AmountOutOfBounds as error:
        raise Invalid(str(error)) from error


def _same_sale(invoice: Invoice, customer: Customer, line: Line) -> Invoice:
    sold = invoice.lines.get()
    price = sold.amount_minor + (sold.tax_minor if sold.is_tax_inclusive else 0)
    before = (invoice.customer_id, sold.unit, sold.quantity, price)
    if before != (customer.pk, line.unit, line.quantity, line.amount_minor):
        raise IdempotencyConflict("this key sold another pack before")
    return invoice


def _local_day(customer: Customer, at: datetime) -> Period:
    """Return the customer's day of the sale: what a pack's line names as its service period."""
    day = at.astimezone(ZoneInfo(customer.time_zone)).date()
    return Period(
        midnight(day, customer.time_zone), midnight(day + timedelta(days=1), customer.time_zone)
    )
