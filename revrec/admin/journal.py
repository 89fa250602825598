"""The general ledger: accounts, entries and their postings."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import link, moment, money, money_text
from billing_project.kernel.backoffice.related import offer_list
from metering.models import Customer
from revrec.models import AccountingPeriod, EntrySource, JournalEntry, LedgerAccount, Posting
from revrec.selectors.parts import parts_of_entry
from revrec.selectors.products import with_product

# The pages of the facts that entries account for; a schedule's day has none of its own.
_FACT_PAGES = {
    "ledger_transaction": "credits_ledgertransaction",
    "rated_usage": "credits_ratedusage",
    "invoice_line": "invoicing_invoiceline",
    "credit_note": "invoicing_creditnote",
    "payment": "invoicing_payment",
    "overpayment": "invoicing_overpayment",
    "processor_fee": "invoicing_processorfee",
    "dispute": "invoicing_dispute",
}

_TRACED = ("ledger_transaction", "rated_usage")


class PostingInline(ReadOnlyInline):
    """An entry's postings: debits on the left, credits on the right, equal in sum."""

    model = Posting
    fields = (
        link("account"),
        "debit",
        "credit",
        "in_books",
        link("customer"),
        link("obligation"),
        "service_start_on",
        "service_end_on",
        "product",
        "model",
    )
    list_select_related = ("account", "customer", "obligation")
    ordering = ("position",)
    tab = False
    per_page = 100

    def debit(self, posting: Posting) -> str:
        """Show a positive amount."""
        return _amount(posting) if posting.amount_minor > 0 else ""

    def credit(self, posting: Posting) -> str:
        """Show a negative amount, without its sign."""
        return _amount(posting) if posting.amount_minor < 0 else ""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Posting]:
        """Add what each posting is about."""
        return with_product(super().get_queryset(request))

    def product(self, posting: Posting) -> str:
        """Show the plan that was sold, or the credits."""
        return str(vars(posting)["product"] or "")

    @admin.display(description="in the books' currency")
    def in_books(self, posting: Posting) -> str:
        """Show what it is worth there, where that is another currency."""
        if posting.functional_currency is None:
            return ""
        return money_text(posting.worth_minor, posting.functional_currency)


class SourceInline(ReadOnlyInline):
    """Which facts an entry accounts for, and what each contributes; the shares sum to it."""

    model = EntrySource
    fields = ("fact", "role", "share", "lineage")
    list_select_related = ("entry",)
    ordering = ("id",)
    verbose_name_plural = "sources"
    tab = False
    per_page = 100

    def share(self, source: EntrySource) -> str:
        """Show what the fact contributes to the entry's amount."""
        return self._part(source)[0]

    def lineage(self, source: EntrySource) -> str:
        """Lead on to the usage behind a fact, and to all its raw events."""
        if source.source_type not in _TRACED:
            return ""
        url = f"{reverse('console:lineage')}?{source.source_type}={source.source_id}"
        window = self._part(source)[1]
        if window is None:
            return format_html('<a href="{}" class="text-link">trace</a>', url)
        events = reverse("console:window_events", args=[window])
        return format_html(
            '<a href="{}" class="text-link">trace</a>, <a href="{}" class="text-link">events</a>',
            url,
            events,
        )

    def _part(self, source: EntrySource) -> tuple[str, int | None]:
        """Return a fact's share and its usage window; an inline is of one request."""
        kept: dict[int, tuple[str, int | None]] = vars(self).setdefault("_parts", {})
        if source.pk not in kept:
            kept |= _parts_from(source, self.per_page)
        return kept[source.pk]

    def fact(self, source: EntrySource) -> str:
        """Link to the fact that was accounted for."""
        return _fact_link(source)


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyAdmin):
    """The chart of accounts."""

    list_display = ("code", "name", "is_debit_normal", "is_monetary")
    search_fields = ("code", "name")
    ordering = ("code",)
    fields = ("code", "name", "is_debit_normal", "is_monetary")


@admin.register(JournalEntry)
class JournalEntryAdmin(LargeTableAdmin):
    """Dated, balanced sets of postings; append-only, chained by their hashes."""

    list_display = (
        "__str__",
        "effective_on",
        "kind",
        "description",
        link("customer"),
        link("period"),
        "posting_count",
        moment("recorded_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "entity", "kind", "period")
    list_select_related = ("entity", "customer", "period")
    search_fields = ("id", "source_key", "customer__external_id")
    search_help_text = "12 for JE-12, a source key or a customer, exactly"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("effective_on", link("period")),
                    ("kind", link("customer")),
                    (link("entity"), link("reverses")),
                    "description",
                )
            },
        ),
        (
            "Evidence",
            {
                "fields": (
                    "source_key",
                    "recorded_at",
                    link("recorded_by"),
                    "chain_position",
                    "previous_sha256",
                    "entry_sha256",
                ),
                "classes": ("collapse",),
            },
        ),
    )
    inlines = (PostingInline, SourceInline)


@admin.register(Posting)
class PostingAdmin(LargeTableAdmin):
    """Single signed amounts on accounts: debits positive, credits negative."""

    list_display = (
        "__str__",
        link("entry"),
        "effective_on",
        link("account"),
        money("amount_minor", "amount"),
        link("customer"),
        link("obligation"),
        link("invoice_line"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "account", "currency")
    list_select_related = ("entry", "account", "customer", "obligation", "invoice_line__invoice")
    search_fields = ("entry__id", "account__code", "customer__external_id")
    search_help_text = "Entry's id, account's code or customer, exactly"
    fields = (
        link("entry"),
        "position",
        link("account"),
        money("amount_minor", "amount"),
        link("customer"),
        link("obligation"),
        link("invoice_line"),
        ("service_start_on", "service_end_on"),
    )

    @admin.display(ordering="entry__effective_on")
    def effective_on(self, posting: Posting) -> Any:
        """Show the entry's date."""
        return posting.entry.effective_on


@admin.register(EntrySource)
class EntrySourceAdmin(LargeTableAdmin):
    """Which facts were accounted for, by which entry; without one, there was nothing to post."""

    list_display = ("__str__", "fact", "role", link("entry"))
    list_filter = ("source_type", "role")
    list_select_related = ("entry",)
    search_fields = ("source_id", "entry__id")
    search_help_text = "Id of the fact or of the entry, exactly"
    fields = ("fact", "role", link("entry"))

    def fact(self, source: EntrySource) -> str:
        """Link to the fact that was accounted for."""
        return _fact_link(source)


def _parts_from(source: EntrySource, limit: int) -> dict[int, tuple[str, int | None]]:
    """Read a page of an entry's parts at once, from one of them on: share and usage window."""
    assert source.entry is not None, "listed on the page of its entry"
    parts = parts_of_entry(source.entry, after_id=source.pk - 1, limit=limit)
    return {
        part.id: (
            money_text(part.amount_minor, parts.currency),
            part.window.id if part.window else None,
        )
        for part in parts.rows
    }


def _fact_link(source: EntrySource) -> str:
    page = _FACT_PAGES.get(source.source_type)
    name = f"{source.source_type.replace('_', ' ')} {source.source_id}"
    if page is None:
        return name
    url = reverse(f"admin:{page}_change", args=[source.source_id])
    return format_html('<a href="{}" class="text-link">{}</a>', url, name)


def _amount(posting: Posting) -> str:
    text = money_text(abs(posting.amount_minor), posting.currency)
    return format_html('<span class="bo-figure">{}</span>', text)


offer_list(Customer, JournalEntry, lambda c: {"customer__id__exact": c.pk}, icon="menu_book")
offer_list(LedgerAccount, Posting, lambda a: {"account__code__exact": a.pk}, icon="balance")
offer_list(AccountingPeriod, JournalEntry, lambda p: {"period__id__exact": p.pk}, icon="menu_book")
