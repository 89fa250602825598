"""Let a draft claim less, as far as it claims what is not delivered: it needs no note.

A draft may be held, or its market closed: neither keeps a change from taking effect. Every line is
lowered with its discounts, so that what is left is what an issued line less its note would be.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.money import Money, allocate, prorate
from invoicing.models import Invoice, InvoiceLine, LineDiscount
from invoicing.selectors.changes import Unused
from invoicing.services.taxing import mark, tax_of_draft, total_again
from invoicing.tax import taxed


def claim_until(invoice: Invoice, parts: Sequence[Unused], ends_at: datetime) -> None:
    """Shorten a draft's lines to what is used; one without an amount is left out."""
    for unused in parts:
        line, price = unused.line, _price(unused.line)
        listed = price + unused.line.discount_minor
        left = listed - unused.part.minor(listed)
        line.unit_price_unrounded = Money(left, invoice.currency).decimal
        line.service_end_at = ends_at
        _lower(line, price - unused.part.minor(price), left, unused.used_arithmetic)
    _total(invoice)


def claim_less(
    line: InvoiceLine, off_minor: int, words: str, ends_at: datetime | None = None
) -> None:
    """Take a part of its net amount off a draft's line; one without an amount is left out.

    Args:
        ends_at: Where its service ends by that; None: as before.
    """
    price = _price(line)
    listed, net = price + line.discount_minor, Decimal(line.amount_minor)
    off = Decimal(off_minor)
    line.service_end_at = ends_at or line.service_end_at
    _lower(line, price - prorate(price, off, net), listed - prorate(listed, off, net), words)
    _total(line.invoice)


def _price(line: InvoiceLine) -> int:
    """Return what a line costs after discounts, with the tax that is in its price."""
    return line.amount_minor + (line.tax_minor if line.is_tax_inclusive else 0)


def _lower(line: InvoiceLine, price_minor: int, listed_minor: int, words: str) -> None:
    """Lower a line to a price, and its discounts to what is left of its price by the list."""
    _share_discounts(line, listed_minor - price_minor if price_minor else 0)
    if not price_minor:
        line.delete()
        return
    tax = tax_of_draft(line.invoice)
    line.description = f"{line.description}; {words}"[:300]
    mark(line, taxed(price_minor, tax.rate, is_inclusive=line.is_tax_inclusive), tax)
    line.save()


def _share_discounts(line: InvoiceLine, minor: int) -> None:
    """Write a line's discounts again so that they sum to an amount."""
    rows = list(line.discounts.order_by("id"))
    if not rows:
        return
    parts = allocate(minor, [row.amount_minor for row in rows])
    line.discounts.all().delete()
    LineDiscount.objects.bulk_create(
        LineDiscount(
            line=line, name=row.name, amount_minor=part, plan_item_id=row.plan_item_id,
            redemption_id=row.redemption_id,
        )
        for row, part in zip(rows, parts, strict=True)
        if part
    )  # fmt: skip
    line.discount_minor = minor


def _total(invoice: Invoice) -> None:
    total_again(invoice)
    invoice.save(update_fields=["total_minor", "tax_minor"])
