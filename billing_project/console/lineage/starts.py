"""Turn the name of a fact, as people and callers write it, into the facts to start from."""

import re
from collections.abc import Callable
from datetime import date

from django.db.models import Model

from billing_project.console.lineage.graph import NodeType, Ref
from billing_project.kernel.errors import Invalid, NotFound
from credits.models import CreditGrant, LedgerTransaction, RatedUsage
from invoicing.models import CreditNote, InvoiceLine, Outcome, Payment, Refund
from metering.models import EventIdentity, UsageWindow
from metering.selectors.customers import customer_ids
from revrec.models import AccountingPeriod, JournalEntry, RevenueSchedule

Start = frozenset[Ref]
_MAX_DIGITS = 18  # Fits bigint.
_MONTH = re.compile(r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])", re.ASCII)


def start_of(kind: str, name: str) -> Start:
    """Find the facts that a name stands for.

    Args:
        kind: One of KINDS.
        name: "acme/req_7f3a" for an event, "INV-000001:2" for an invoice line, a number for an
            invoice or a credit note, "2026-11" for a period, an id for the rest.

    Raises:
        Invalid: the name has not the form of its kind.
        NotFound: nothing has this name.
    """
    if kind not in _FINDERS:
        raise Invalid(f"a trace starts at one of {', '.join(KINDS)}")
    found = _FINDERS[kind](name)
    if not found:
        raise NotFound(f"no {kind} is named {name[:200]}")
    return found


def event_id(customer: str, identifier: str) -> int | None:
    """Return the id of a stored event by its sender's names (an alias counts), or None."""
    customer_id = customer_ids([customer]).get(customer)
    if customer_id is None:
        return None
    identities = EventIdentity.objects.filter(customer_id=customer_id, identifier=identifier)
    return identities.values_list("event_id", flat=True).first()


def period_named(name: str) -> AccountingPeriod | None:
    """Return the month of the books that is written so, or None.

    Raises:
        Invalid: it is no month.
    """
    if not _MONTH.fullmatch(name):
        raise Invalid("a period is named YYYY-MM")
    start_on = date.fromisoformat(f"{name}-01")
    return AccountingPeriod.objects.select_related("closed_by").filter(start_on=start_on).first()


def _event(name: str) -> Start:
    customer, slash, identifier = name.partition("/")
    if not (customer and slash and identifier):
        raise Invalid("an event is named CUSTOMER/IDENTIFIER")
    found = event_id(customer, identifier)
    return frozenset({Ref(NodeType.METER_EVENT, found)} if found else ())


def _invoice_line(name: str) -> Start:
    number, colon, position = name.rpartition(":")
    if not (number and colon):
        raise Invalid("an invoice line is named NUMBER:POSITION")
    lines = InvoiceLine.objects.filter(invoice__number=number, position=_number(position))
    return _refs(NodeType.INVOICE_LINE, lines.values_list("pk", flat=True))


def _invoice(name: str) -> Start:
    lines = InvoiceLine.objects.filter(invoice__number=name)
    return _refs(NodeType.INVOICE_LINE, lines.values_list("pk", flat=True))


def _credit_note(name: str) -> Start:
    rows = CreditNote.objects.filter(number=name)
    return _refs(NodeType.CREDIT_NOTE, rows.values_list("pk", flat=True))


def _by_id(type_: NodeType, model: type[Model]) -> Callable[[str], Start]:
    """Find facts that people name by their ids alone."""

    def find(name: str) -> Start:
        rows = model._default_manager.filter(pk=_number(name))
        return _refs(type_, rows.values_list("pk", flat=True))

    return find


def _journal_entry(name: str) -> Start:
    rows = JournalEntry.objects.filter(pk=_number(name.removeprefix("JE-")))
    return _refs(NodeType.JOURNAL_ENTRY, rows.values_list("pk", flat=True))


def _period(name: str) -> Start:
    period = period_named(name)
    return frozenset({Ref(NodeType.ACCOUNTING_PERIOD, period.pk)} if period else ())


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise Invalid(f"{text[:40]!r} is no number")
    return int(text)


def _refs(type_: NodeType, ids: object) -> Start:
    return frozenset(Ref(type_, pk) for pk in ids)  # type: ignore[attr-defined]


_FINDERS: dict[str, Callable[[str], Start]] = {
    "event": _event,
    "usage_window": _by_id(NodeType.USAGE_WINDOW, UsageWindow),
    "rated_usage": _by_id(NodeType.RATED_USAGE, RatedUsage),
    "credit_grant": _by_id(NodeType.CREDIT_GRANT, CreditGrant),
    "ledger_transaction": _by_id(NodeType.LEDGER_TRANSACTION, LedgerTransaction),
    "invoice": _invoice,
    "invoice_line": _invoice_line,
    "credit_note": _credit_note,
    "outcome": _by_id(NodeType.OUTCOME, Outcome),
    "payment": _by_id(NodeType.PAYMENT, Payment),
    "refund": _by_id(NodeType.REFUND, Refund),
    "revenue_schedule": _by_id(NodeType.REVENUE_SCHEDULE, RevenueSchedule),
    "journal_entry": _journal_entry,
    "period": _period,
}
KINDS = tuple(_FINDERS)
