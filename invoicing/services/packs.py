"""Sell credits ahead of use: invoiced at once, granted once the invoice is fully paid.

A pack's credits stay until they are used; those of a commitment end with its term.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from billing_project.kernel.period import Period, midnight
from billing_project.kernel.quantity import round_unrounded
from credits.models import PricingUnit
from invoicing.lines import AmountOutOfBounds, Line, commitment_line, pack_line
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
_LONGEST_TERM = timedelta(days=3653)


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
    locked = lock_customer(customer.pk)
    line = _pack(pricing_unit, amount, Money(price_minor, locked.currency))
    return _sell(locked, line, _Sale("credit_pack", key, None), by, at)


@transaction.atomic
def sell_commitment(
    *,
    customer: Customer,
    pricing_unit: PricingUnit,
    amount: Decimal,
    price_minor: int,
    start_on: date,
    end_on: date,
    key: str,
    by: User,
    at: datetime,
) -> Invoice:
    """Issue the invoice of a commitment that is paid ahead of its term.

    Its credits come with the payment, not before the term begins, and end with it: what is left
    then is kept as the commitment's shortfall. Otherwise as `sell_credit_pack`.

    Args:
        start_on, end_on: Days of the customer's calendar; half-open, ten years at most.

    Raises:
        Invalid: a term that is over, ends before it begins, or is too long; with its field.
    """
    locked = lock_customer(customer.pk)
    is_near = end_on - at.date() < _LONGEST_TERM  # As its credits have to be.
    if not is_near or not timedelta(0) < end_on - start_on <= _LONGEST_TERM:
        raise Invalid("a term ends after it begins, and within ten years", field="end_on")
    term = Period(midnight(start_on, locked.time_zone), midnight(end_on, locked.time_zone))
    price = Money(price_minor, locked.currency)
    last_day = (end_on - timedelta(days=1)).isoformat()
    line = _line(partial(commitment_line, ends=last_day), pricing_unit, amount, price)
    return _sell(locked, line, _Sale("commitment", key, term), by, at)


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


@dataclass(frozen=True)
class _Sale:
    """What is sold, and the caller's name for it; the term is that of a commitment."""

    kind: str
    key: str
    term: Period | None

    @property
    def source_key(self) -> str:
        """Name the sale among all of them."""
        return f"{self.kind}:{self.key}"


def _sell(customer: Customer, line: Line, sale: _Sale, by: User, at: datetime) -> Invoice:
    if not 0 < len(sale.key) <= _LONGEST_KEY:
        raise Invalid(f"a sale's key has 1 to {_LONGEST_KEY} characters")
    before = Invoice.objects.filter(source_key=sale.source_key).first()
    if before is not None:
        return _same_sale(before, customer, line, sale)
    if sale.term is not None and sale.term.end <= at:
        raise Invalid("the term is over already", field="end_on")
    refuse_closed(customer)
    open_gate(customer, customer.currency, at, entity_id_of(customer))
    service = sale.term or _local_day(customer, at)
    draft = create_draft(Draft(customer, None, customer.currency, service, at, sale.source_key), at)
    write_lines(draft, [line])
    audit.record(by=by, at=at, action=f"sell_{sale.kind}", subject=draft, key=sale.key)
    return issue_unless_held(invoice=draft, by=by, at=at)


def _pack(pricing_unit: PricingUnit, amount: Decimal, price: Money) -> Line:
    return _line(pack_line, pricing_unit, amount, price)


def _line(
    make: Callable[[str, Decimal, Money], Line], pricing_unit: PricingUnit, amount: Decimal,
    price: Money,
) -> Line:  # fmt: skip
    if not (amount.is_finite() and 0 < amount < Decimal(10) ** 24):
        raise Invalid("a pack has more than 0 and less than 10^24 credits")
    if round_unrounded(amount) != amount:
        raise Invalid("a pack's credits have at most 12 decimals")
    if price.amount_minor <= 0:
        raise Invalid("a pack has a price; credits without one are a promotional grant")
    try:
        return make(pricing_unit.code, amount, price)
    except AmountOutOfBounds as error:
        raise Invalid(str(error)) from error


def _same_sale(invoice: Invoice, customer: Customer, line: Line, sale: _Sale) -> Invoice:
    sold = invoice.lines.first()
    if sold is None:  # Its lines went with the rejection.
        raise Conflict("this sale was rejected: sell it under another key")
    price = sold.amount_minor + (sold.tax_minor if sold.is_tax_inclusive else 0)
    before = (invoice.customer_id, sold.unit, sold.quantity, price)
    if before != (customer.pk, line.unit, line.quantity, line.amount_minor):
        raise IdempotencyConflict("this key sold another pack before")
    if sale.term not in (None, Period(invoice.service_start_at, invoice.service_end_at)):
        raise IdempotencyConflict("this key sold a commitment of another term before")
    return invoice


def _local_day(customer: Customer, at: datetime) -> Period:
    """Return the customer's day of the sale: what a pack's line names as its service period."""
    day = at.astimezone(ZoneInfo(customer.time_zone)).date()
    return Period(
        midnight(day, customer.time_zone), midnight(day + timedelta(days=1), customer.time_zone)
    )
