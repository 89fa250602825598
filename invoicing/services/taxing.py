"""Put tax on the lines of a draft: as its market and the customer's tax id have it."""

from datetime import datetime

from billing_project.kernel.errors import Conflict
from invoicing.lines import Line
from invoicing.models import Invoice, InvoiceLine
from invoicing.selectors.markets import known_tax, tax_id_of, tax_of_sale
from invoicing.tax import Tax, Taxed, is_in_price, taxed_as


def tax_of_draft(invoice: Invoice) -> Tax:
    """Return the tax as far as it is known: a market may be opened until the draft is issued."""
    return known_tax(invoice.customer, invoice.currency, invoice.ready_at, invoice.entity_id)


def divided(line: Line, tax: Tax) -> Taxed:
    """Divide a new line's price into net and tax."""
    return taxed_as(line.kind.value, line.amount_minor, tax)


def mark(row: InvoiceLine, parts: Taxed, tax: Tax) -> None:
    """Write net, tax and rate on a line that is not stored yet, or will be."""
    row.amount_minor, row.tax_minor, row.tax_rate = parts.net_minor, parts.tax_minor, tax.rate
    row.is_tax_inclusive = is_in_price(row.kind, tax)


def tax_for_look(invoice: Invoice, at: datetime) -> None:
    """Tax a draft as it would be issued now, so that limits and approvers see what is claimed.

    Where its market is not open, whoever issues it is told so.
    """
    try:
        tax = tax_of_sale(invoice.customer, invoice.currency, at, invoice.entity_id)
    except Conflict:
        return
    if _tax_lines(invoice, tax):
        invoice.save(update_fields=["tax_minor", "total_minor"])


def tax_for_issue(invoice: Invoice, at: datetime) -> None:
    """Tax a draft as of the instant at which it is issued, and keep by what it was taxed.

    Raises:
        Conflict: the market is not open, or has no approved rate.
    """
    tax = tax_of_sale(invoice.customer, invoice.currency, at, invoice.entity_id)
    _tax_lines(invoice, tax)
    tax_id = tax_id_of(invoice.customer)
    invoice.tax_treatment, invoice.tax_name = tax.treatment.value, tax.name
    invoice.customer_tax_id = tax_id.value if tax_id else ""


def total_again(invoice: Invoice) -> None:
    """Sum a draft's lines anew; the caller saves it."""
    rows = invoice.lines.values_list("amount_minor", "tax_minor")
    invoice.tax_minor = sum(tax for _, tax in rows)
    invoice.total_minor = sum(net for net, _ in rows) + invoice.tax_minor


def _tax_lines(invoice: Invoice, tax: Tax) -> bool:
    """Tax a draft's lines; tell whether any of them changed."""
    changed = [row for row in invoice.lines.all() if _tax_again(row, tax)]
    if changed:
        InvoiceLine.objects.bulk_update(
            changed, ["amount_minor", "tax_minor", "tax_rate", "is_tax_inclusive"]
        )
        total_again(invoice)
    return bool(changed)


def _tax_again(row: InvoiceLine, tax: Tax) -> bool:
    price = row.amount_minor + (row.tax_minor if row.is_tax_inclusive else 0)
    before = (row.amount_minor, row.tax_minor, row.tax_rate)
    mark(row, taxed_as(row.kind, price, tax), tax)
    return before != (row.amount_minor, row.tax_minor, row.tax_rate)
