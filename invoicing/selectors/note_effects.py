"""What a proposed credit note would do: to the invoice in money, and to grants in credits."""

import json
from decimal import Decimal
from typing import Any

from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.errors import Insufficient
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.money import Money
from invoicing.crediting import CreditRefused, Split, credit
from invoicing.models import Invoice
from invoicing.selectors.invoices import lines_left
from invoicing.selectors.restoring import GOES_TO
from invoicing.selectors.settlement import paid_of, refuse_not_kept
from metering.models import Customer


@effect_of("credit_note")
def _of_note(change: PolicyChange) -> Effect | None:
    """Say what comes off the invoice and goes back, or which grants get what."""
    content = json.loads(change.content)
    if content.get("gives_back"):
        return _of_credits(content)
    return _of_money(content) if content.get("amount_minor") else None


def _of_money(content: dict[str, Any]) -> Effect | None:
    invoice = Invoice.objects.select_related("customer").get(number=content["invoice"])
    asked = [(content["line"], content["amount_minor"])]
    lines = lines_left(invoice)
    left = {line.position: line.left_minor for line in lines}[content["line"]]
    still = Money(invoice.open_minor, invoice.currency)
    try:
        split = credit(lines, asked, still, paid_of(invoice))
        refuse_not_kept(invoice, split.total_minor)
    except (CreditRefused, Insufficient) as refusal:
        return Effect(f"As the books are now, nothing would be issued: {refusal}", (), 1, 0)
    return Effect(
        "The invoice as it is now; what is open is reduced first. If by the decision the line has"
        " less left, nothing is issued",
        tuple(_money_rows(content, invoice, split, left)), 1, 0,
    )  # fmt: skip


def _money_rows(
    content: dict[str, Any], invoice: Invoice, split: Split, left_minor: int
) -> list[EffectRow]:
    """List each figure that the note would move, in major units."""

    def row(subject: str, before: int, after: int) -> EffectRow:
        now, then = (Money(minor, invoice.currency).decimal for minor in (before, after))
        return EffectRow(subject, invoice.customer_id, now, then, invoice.currency)

    still, back = invoice.open_minor, split.back
    rows = [
        row(f"Left of line {content['line']}", left_minor, left_minor - content["amount_minor"]),
        row(f"Open of {invoice.number}", still, still - split.open_minor),
        row("Tax of the note", 0, split.tax_minor),
        row("Back to the customer's balance", 0, back.balance_minor),
        row("To be refunded", 0, back.refund_minor),
    ]
    return [one for one in rows if one.difference]


def _of_credits(content: dict[str, Any]) -> Effect:
    parts = content["gives_back"]
    customer = Customer.objects.get(external_id=content["customer"])
    rows = tuple(
        EffectRow(
            f"Back to grant {part['grant']} ({part['category']}){GOES_TO[part['goes_to']]}",
            customer.pk, Decimal(0), Decimal(part["credits"]), part["unit"],
        )
        for part in parts
    )  # fmt: skip
    paid: dict[str, Decimal] = {}
    for amount, currency in (money.split() for part in parts for money in part["paid"]):
        paid[currency] = paid.get(currency, Decimal(0)) + Decimal(amount)
    cost = (
        EffectRow("What was paid for them", customer.pk, Decimal(0), amount, currency)
        for currency, amount in sorted(paid.items())
    )
    return Effect(
        "Who gets credits back, the newest burn first, at the price that was paid for them. If by"
        " the decision others would get them, nothing is issued",
        (*rows, *cost), 1, len({part["grant"] for part in parts}),
    )  # fmt: skip
