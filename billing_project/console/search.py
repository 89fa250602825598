"""Find facts by what people paste.

An event's identifier, the number of an invoice, note or journal entry, a month of the books, a
customer, a grant, what Stripe calls a thing, or a subject as the audit trail writes it
("creditgrant:12").
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.dataclasses import SearchResult

from billing_project.console.lineage.starts import event_id, period_named
from billing_project.console.navigation import lineage_url, may_read
from billing_project.kernel.backoffice.base import is_id
from billing_project.kernel.backoffice.display import object_url
from billing_project.kernel.errors import Invalid
from credits.models import CreditGrant, LedgerTransaction
from invoicing.models import (
    CreditNote,
    Invoice,
    ParkedEvent,
    StripeCall,
    StripeCustomer,
    StripeEvent,
)
from metering.models import Customer, EventIdentity
from revrec.models import JournalEntry

_MOST = 8
_GRANT = re.compile(r"(?:[a-z]+ )?grant #?([0-9]{1,18})")  # As its page is headed.
_STRIPE_NAME = re.compile(r"[a-z]{2,8}_[A-Za-z0-9_]{3,90}", re.ASCII)  # cus_…, pi_…, evt_…, in_…


@dataclass(frozen=True)
class Found:
    """One fact that a lineage can start from."""

    kind: str  # As the trace names it: "event", "invoice", "journal_entry".
    name: str
    title: str

    @property
    def url(self) -> str:
        """The address of its lineage."""
        return lineage_url(self.kind, self.name)


def find_facts(text: str) -> list[Found]:
    """List the facts that a pasted text may mean, the likeliest first."""
    words = text.strip()
    if not words or "\x00" in words:
        return []
    found = [fact for find in _FINDERS for fact in find(words)]
    return found[:_MOST]


def find_anything(request: HttpRequest, term: str) -> list[SearchResult]:
    """Answer the command palette; `term` comes in lower case, the request has it as typed."""
    if not may_read(request):
        return []
    text = request.GET.get("s", term)
    facts = [
        SearchResult(f"Lineage of {f.title}", f.kind, f.url, "account_tree")
        for f in find_facts(text)
    ]
    return [*_pages(text), *facts][: 2 * _MOST]


def _pages(text: str) -> Iterator[SearchResult]:
    words = text.strip().replace("\x00", "")
    for customer in Customer.objects.filter(
        Q(external_id__istartswith=words) | Q(name__icontains=words)
    )[:_MOST]:
        yield SearchResult(customer.name, customer.external_id, object_url(customer), "groups")
    for invoice in Invoice.objects.filter(number=words.upper()).select_related("customer"):
        yield SearchResult(str(invoice), invoice.customer.name, object_url(invoice), "receipt")
    for note in CreditNote.objects.filter(number=words.upper()):
        yield SearchResult(note.number, "Credit note", object_url(note), "assignment_return")
    named = _GRANT.fullmatch(words.lower())
    grants = Q(pk=int(named[1])) if named else Q(source_key=words)
    for grant in CreditGrant.objects.filter(grants).select_related("customer"):
        yield SearchResult(str(grant), grant.customer.name, object_url(grant), "redeem")
    yield from subject_named(words)
    yield from _of_stripe(words)


def subject_named(words: str) -> Iterator[SearchResult]:
    """Find the object that an audit entry names."""
    name, colon, key = words.partition(":")
    if not colon or not is_id(key):
        return
    for model in admin.site._registry:
        if model._meta.model_name == name.lower():
            for row in model._default_manager.filter(pk=int(key)):
                title = f"{str(model._meta.verbose_name).capitalize()} {row}"
                yield SearchResult(title, words, object_url(row), "link")


def _of_stripe(words: str) -> Iterator[SearchResult]:
    """Find what Stripe knows under a name, by columns that have an index."""
    if not _STRIPE_NAME.fullmatch(words):
        return
    found: tuple[QuerySet[Any], ...] = (
        StripeCustomer.objects.filter(stripe_id=words),
        StripeCall.objects.filter(stripe_id=words),
        StripeEvent.objects.filter(Q(stripe_id=words) | Q(object_id=words)),
        ParkedEvent.objects.filter(stripe_id=words),
    )
    for rows in found:
        name = str(rows.model._meta.verbose_name).capitalize()
        for row in rows.order_by("-pk")[:_MOST]:
            yield SearchResult(f"{name} {row}", words, object_url(row), "credit_card")


def _events(words: str) -> Iterable[Found]:
    customer, slash, identifier = words.partition("/")
    if slash and event_id(customer, identifier) is not None:
        yield Found("event", words, f"event {words}")
    # Identities are keyed by customer first: name them all, so that the index is used.
    customers = dict(Customer.objects.values_list("pk", "external_id"))
    for identity in EventIdentity.objects.filter(customer_id__in=list(customers), identifier=words)[
        :_MOST
    ]:
        name = f"{customers[identity.customer_id]}/{words}"
        yield Found("event", name, f"event {name}")


def _invoices(words: str) -> Iterable[Found]:
    number, colon, position = words.upper().partition(":")
    if not Invoice.objects.filter(number=number).exists():
        return
    if colon and position.isascii() and position.isdigit():
        yield Found("invoice_line", f"{number}:{position}", f"invoice line {number}:{position}")
    else:
        yield Found("invoice", number, f"invoice {number}")


def _credit_notes(words: str) -> Iterable[Found]:
    number = words.upper()
    if CreditNote.objects.filter(number=number).exists():
        yield Found("credit_note", number, f"credit note {number}")


def _journal_entries(words: str) -> Iterable[Found]:
    number = _id_after(words.upper(), "JE-")
    if number is not None and JournalEntry.objects.filter(pk=number).exists():
        yield Found("journal_entry", str(number), f"journal entry JE-{number}")


def _periods(words: str) -> Iterable[Found]:
    with suppress(Invalid):  # Most that is pasted is no month.
        if period_named(words) is not None:
            yield Found("period", words, f"period {words}")


def _ledger_transactions(words: str) -> Iterable[Found]:
    number = _id_after(words.upper(), "LT-")
    same = Q(source_key=words) | (Q() if number is None else Q(pk=number))
    for row in LedgerTransaction.objects.filter(same)[:_MOST]:
        yield Found("ledger_transaction", str(row.pk), f"ledger transaction LT-{row.pk}")


def _id_after(words: str, prefix: str) -> int | None:
    digits = words.removeprefix(prefix)
    return int(digits) if is_id(digits) else None


_FINDERS: tuple[Callable[[str], Iterable[Found]], ...] = (
    _events,
    _invoices,
    _credit_notes,
    _journal_entries,
    _ledger_transactions,
    _periods,
)
