"""The rows of the exports: columns, what each means, and their cells; ids lead from one to another.

Amounts are major units as exact text, instants are UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from billing_project.kernel.exporting import Cell
from billing_project.kernel.money import Money
from billing_project.kernel.quantity import plain
from credits.models import LedgerTransaction
from invoicing.models import InvoiceLine
from metering.exact import write_json
from metering.models import MeterEvent
from revrec.models import Posting


@dataclass(frozen=True)
class Field:
    """One column."""

    name: str
    meaning: str
    kind: type = str


EVENTS = (
    Field("id", "our number of the event, in the order of storing", int),
    Field("customer", "the sender's id of the customer"),
    Field("workspace", "the sender's id of the workspace, or nothing"),
    Field("event_name", "which meters read it"),
    Field("identifier", "the sender's key: billed at most once for the customer, for ever"),
    Field("timestamp", "when it happened", datetime),
    Field("received_at", "when it was stored", datetime),
    Field("properties", "what was reported, as JSON with every digit"),
)
LEDGER = (
    Field("id", "number of the entry", int),
    Field("customer", "the sender's id of the customer"),
    Field("grant", "number of the grant whose credits move", int),
    Field("category", "paid, promotional, included or goodwill"),
    Field("unit", "kind of credit"),
    Field("kind", "granted, drawn, returned, expired, voided, reinstated or rolled over"),
    Field("credits", "signed: what leaves the grant is negative"),
    Field("cost", "share of the grant's price, unrounded"),
    Field("currency", "of the cost"),
    Field("effective_at", "when it holds", datetime),
    Field("recorded_at", "when it was known", datetime),
    Field("rated_usage", "number of the usage that it pays for", int),
    Field("meter", "meter of that usage"),
    Field("window_at", "start of the hour of that usage", datetime),
    Field("quantity", "quantity of that usage, in the meter's unit"),
    Field("reason_code", "why, where a person acted"),
    Field("source_key", "our name of the fact: the same fact is entered once"),
)
INVOICES = (
    Field("id", "number of the line", int),
    Field("invoice", "number of the invoice"),
    Field("customer", "the sender's id of the customer"),
    Field("status", "finalized, paid, void or uncollectible"),
    Field("finalized_at", "when it was issued", datetime),
    Field("due_on", "when it is to be paid"),
    Field("position", "place of the line on the invoice", int),
    Field("kind", "what is charged"),
    Field("description", "as the customer reads it"),
    Field("quantity", "of the unit"),
    Field("unit", "what is counted"),
    Field("unit_price", "price of one, unrounded"),
    Field("amount", "the claim, before tax"),
    Field("credited", "what credit notes took off it"),
    Field("currency", "of all amounts of the line"),
    Field("service_start_at", "from when on the service is", datetime),
    Field("service_end_at", "until when, exclusive", datetime),
    Field("source_key", "our name of the fact: the same fact is claimed once"),
)
JOURNAL = (
    Field("id", "number of the posting", int),
    Field("entry", "number of the entry", int),
    Field("chain_position", "place of the entry in the hash chain of its legal entity", int),
    Field("entry_sha256", "hash over the entry, its postings and the entry before"),
    Field("effective_on", "date in the books"),
    Field("kind", "what happened"),
    Field("description", "the same in words"),
    Field("account", "code of the account"),
    Field("debit", "amount on the left side, or nothing"),
    Field("credit", "amount on the right side, or nothing"),
    Field("currency", "of the amount"),
    Field("customer", "the sender's id of the customer, or nothing"),
    Field("promise", "our name of the performance obligation, or nothing"),
    Field("invoice", "number of the invoice, or nothing"),
    Field("service_start_on", "first day of the service, or nothing"),
    Field("service_end_on", "first day after the service, or nothing"),
    Field("recorded_at", "when it was posted", datetime),
    Field("source_key", "our name of the state that the entry brings about"),
    Field("entity", "code of the legal entity whose books these are"),
    Field("books_debit", "the debit in the currency of the books"),
    Field("books_credit", "the credit in the currency of the books"),
    Field("books_currency", "in which the books are kept, as far as the posting knows"),
    Field("contract", "number of the subscription that sold it, or nothing"),
    Field("model", "whose use was earned, or nothing"),
    Field("product", "the plan that was sold, or credits: credit_pack:credit; or nothing"),
    Field("region", "the customer's country when the entry was recorded, or nothing"),
)


def event_cells(event: MeterEvent) -> Mapping[str, Cell]:
    """Write one event."""
    return {
        "id": event.pk,
        "customer": event.customer.external_id,
        "workspace": event.workspace.external_id if event.workspace else "",
        "event_name": event.event_name,
        "identifier": event.identifier,
        "timestamp": event.timestamp,
        "received_at": event.received_at,
        "properties": write_json(event.properties),
    }


def ledger_cells(row: LedgerTransaction) -> Mapping[str, Cell]:
    """Write one entry of the credit ledger."""
    usage = row.rated_usage
    return {
        "id": row.pk,
        "customer": row.customer.external_id,
        "grant": row.grant_id,
        "category": row.grant.category,
        "unit": row.grant.pricing_unit.code,
        "kind": row.kind,
        "credits": plain(row.credits),
        "cost": plain(row.cost_unrounded),
        "currency": row.grant.currency,
        "effective_at": row.effective_at,
        "recorded_at": row.recorded_at,
        "rated_usage": usage.pk if usage else None,
        "meter": usage.window.meter.code if usage else "",
        "window_at": usage.window.start_at if usage else None,
        "quantity": plain(usage.quantity) if usage else "",
        "reason_code": row.reason_code,
        "source_key": row.source_key,
    }


def invoice_cells(line: InvoiceLine) -> Mapping[str, Cell]:
    """Write one line of an issued invoice."""
    invoice = line.invoice
    return {
        "id": line.pk,
        "invoice": invoice.number or "",
        "customer": invoice.customer.external_id,
        "status": invoice.status,
        "finalized_at": invoice.finalized_at,
        "due_on": _day(invoice.due_on),
        "position": line.position,
        "kind": line.kind,
        "description": line.description,
        "quantity": plain(line.quantity),
        "unit": line.unit,
        "unit_price": plain(line.unit_price_unrounded),
        "amount": _money(line.amount_minor, invoice.currency),
        "credited": _money(line.credited_minor, invoice.currency),
        "currency": invoice.currency,
        "service_start_at": line.service_start_at,
        "service_end_at": line.service_end_at,
        "source_key": line.source_key,
    }


def journal_cells(posting: Posting) -> Mapping[str, Cell]:
    """Write one posting with its entry."""
    entry, line = posting.entry, posting.invoice_line
    amount = _money(abs(posting.amount_minor), posting.currency)
    worth = _money(abs(posting.worth_minor), posting.worth_currency)
    return {
        "id": posting.pk,
        "entry": entry.pk,
        "chain_position": entry.chain_position,
        "entry_sha256": entry.entry_sha256,
        "effective_on": _day(entry.effective_on),
        "kind": entry.kind,
        "description": entry.description,
        "account": posting.account_id,
        "debit": amount if posting.amount_minor > 0 else "",
        "credit": amount if posting.amount_minor < 0 else "",
        "currency": posting.currency,
        "customer": posting.customer.external_id if posting.customer else "",
        "promise": posting.obligation.source_key if posting.obligation else "",
        "invoice": (line.invoice.number or "") if line else "",
        "service_start_on": _day(posting.service_start_on),
        "service_end_on": _day(posting.service_end_on),
        "recorded_at": entry.recorded_at,
        "source_key": entry.source_key,
        "entity": entry.entity.code,
        "books_debit": worth if posting.worth_minor > 0 else "",
        "books_credit": worth if posting.worth_minor < 0 else "",
        "books_currency": posting.worth_currency,
        "contract": str(vars(posting).get("contract") or ""),
        "model": posting.model or "",
        "product": str(vars(posting).get("product") or ""),
        "region": str(vars(posting).get("region") or ""),
    }


def _money(amount_minor: int, currency: str) -> str:
    return f"{Money(amount_minor, currency).decimal:f}"


def _day(day: date | None) -> str:
    return day.isoformat() if day else ""
