"""What a proposed market, tax rate or invoice policy would have made of the last month's sales."""

import json
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import BigIntegerField, Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.money import Money
from invoicing.approval import (
    Figures,
    Limits,
    for_finance,
    is_out_of_bounds,
    needs_approval,
)
from invoicing.models import (
    MAIN_CODE,
    MAIN_ENTITY,
    CreditNote,
    CustomerEntity,
    Invoice,
    InvoiceStatus,
)
from invoicing.selectors.covered import periods_without_invoice
from invoicing.selectors.entities import entity_named, seller_at
from invoicing.selectors.holds import limits_at
from invoicing.selectors.markets import is_open, tax_id_of
from invoicing.tax import Tax, Terms, Treatment, tax_for, taxed_as
from invoicing.tax_ids import country_of
from metering.models import Customer

_MONTH = timedelta(days=30)
_SOLD = "Invoices issued in the 30 days before it was proposed"


@effect_of("tax_rate")
def _of_rate(change: PolicyChange) -> Effect:
    """Tax what was issued again, each line by its price."""
    content = json.loads(change.content)
    terms = Terms(
        content["name"], Decimal(content["rate"]), content["is_inclusive"],
        content["has_reverse_charge"],
    )  # fmt: skip
    before: dict[tuple[Customer, str], int] = defaultdict(int)
    after: dict[tuple[Customer, str], int] = defaultdict(int)
    sold = _issued(change.proposed_at).filter(customer__country=content["country"])
    for invoice in sold.exclude(tax_treatment=Treatment.OUTSIDE.value).prefetch_related("lines"):
        key = invoice.customer, invoice.currency
        before[key] += invoice.tax_minor
        after[key] += _taxed_again(invoice, _tax_of(invoice, terms, change.effective_at))
    rows = [
        EffectRow(
            f"Tax of {customer.external_id}", customer.pk,
            Money(before[customer, currency], currency).decimal,
            Money(after[customer, currency], currency).decimal, currency,
        )
        for customer, currency in before
    ]  # fmt: skip
    count = Customer.objects.filter(country=content["country"]).count()
    return Effect(f"{_SOLD} to customers of {content['country']}", _largest(rows), count, 0)


@effect_of("market_gate")
def _of_gate(change: PolicyChange) -> Effect:
    """Count whom may be sold to, and what waits for the market."""
    content = json.loads(change.content)
    country, currency = content["country"], content["currency"]
    where = f"{country or 'customers without a country'} in {currency}"
    entity = entity_named(content.get("entity", MAIN_CODE))
    was_open = is_open(country, currency, change.effective_at, entity.pk)
    told = CustomerEntity.objects.filter(customer=OuterRef("pk")).values("entity_id")
    billed_by = Coalesce(Subquery(told), MAIN_ENTITY, output_field=BigIntegerField())
    theirs = Customer.objects.alias(billed_by=billed_by).filter(billed_by=entity.pk)
    customers = theirs.filter(country=country, currency=currency).count()
    drafts = Invoice.objects.filter(
        entity=entity, customer__country=country, currency=currency, status=InvoiceStatus.DRAFT
    )
    waiting = 0 if was_open else drafts.count()
    sellable = customers if was_open else 0
    rows = (
        _count("Customers who can be sold to", "customer", sellable, customers),
        _count("Drafts that wait for the market", "invoice", waiting, 0),
    )
    said = "It is open already; sales follow the new checklist" if was_open else "It is closed"
    return Effect(f"The market of {where} when the change begins. {said}", rows, customers, 0)


@effect_of("invoice_policy")
def _of_policy(change: PolicyChange) -> Effect:
    """Ask of each invoice and note what the limits in force and the proposed ones make of it."""
    content = json.loads(change.content)
    proposed = Limits(
        content["approval_above"], content["approves_first"], content["notes_above"],
        content["most_lines"], content["most_drafts"], content.get("invoices_covered", False),
    )  # fmt: skip
    both = limits_at(change.effective_at), proposed
    sold = list(_issued(change.proposed_at).annotate(line_count=Count("lines")))
    firsts = set(
        Invoice.objects.exclude(status=InvoiceStatus.DRAFT)
        .order_by("customer_id", "finalized_at", "pk")
        .distinct("customer_id")
        .values_list("pk", flat=True)
    )
    figures = [
        Figures(
            Money(row.total_minor, row.currency),
            row.line_count,
            row.pk in firsts,
        )
        for row in sold
    ]
    notes = CreditNote.objects.filter(
        issued_at__gt=change.proposed_at - _MONTH, issued_at__lte=change.proposed_at
    )
    totals = [Money(note.total_minor, note.currency) for note in notes]
    counts = {
        ("Invoices that wait for an approval", "invoice"): [
            sum(bool(needs_approval(one, limits)) for one in figures) for limits in both
        ],
        ("Invoices that wait because they are out of bounds", "invoice"): [
            sum(bool(is_out_of_bounds(one, limits)) for one in figures) for limits in both
        ],
        ("Credit notes that support has to propose", "credit note"): [
            sum(bool(for_finance(total, limits)) for total in totals) for limits in both
        ],
    }
    covered = periods_without_invoice(change.proposed_at - _MONTH, change.proposed_at)
    if any(limits.invoices_covered for limits in both):
        counts["Periods that owe nothing and get an invoice", "invoice"] = [
            covered if limits.invoices_covered else 0 for limits in both
        ]
    rows = tuple(_count(*what, old, new) for what, (old, new) in counts.items())
    customers = len({row.customer_id for row in sold})
    return Effect(f"{_SOLD}, and credit notes of that time", rows, customers, 0)


def _issued(at: datetime) -> QuerySet[Invoice]:
    """List what was issued in the month before an instant."""
    rows = Invoice.objects.filter(finalized_at__gt=at - _MONTH, finalized_at__lte=at)
    return rows.exclude(status=InvoiceStatus.DRAFT).select_related("customer")


def _tax_of(invoice: Invoice, terms: Terms, at: datetime) -> Tax:
    """Decide on an invoice's tax anew, by the customer's tax id of today."""
    country, tax_id = invoice.customer.country, tax_id_of(invoice.customer)
    is_own = tax_id is not None and country_of(tax_id.kind, tax_id.value) == country
    return tax_for(terms, seller_at(invoice.entity_id, at).country, country, has_tax_id=is_own)


def _taxed_again(invoice: Invoice, tax: Tax) -> int:
    return sum(
        taxed_as(
            row.kind, row.amount_minor + (row.tax_minor if row.is_tax_inclusive else 0), tax
        ).tax_minor
        for row in invoice.lines.all()
    )


def _count(subject: str, unit: str, before: int, after: int) -> EffectRow:
    return EffectRow(subject, None, Decimal(before), Decimal(after), unit)


def _largest(rows: list[EffectRow]) -> tuple[EffectRow, ...]:
    """Put the largest difference first."""
    return tuple(sorted(rows, key=lambda row: (-abs(row.difference), row.subject)))
