"""The general ledger: accounts, months, entries and their postings."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import (
    EMPTY,
    badge,
    link,
    moment,
    money,
    money_text,
    object_link,
)
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from billing_project.kernel.period import midnight
from metering.models import Customer
from revrec.admin.seals import verdict_of
from revrec.models import (
    AccountingPeriod,
    EntrySource,
    JournalEntry,
    LedgerAccount,
    PeriodStatus,
    Posting,
)
from revrec.selectors.reports import deferred_rollforward, trial_balance
from revrec.selectors.seals import seal_of
from revrec.services.periods import close_period
from revrec.services.sealing import seal_period

_STATUSES = {"open": "wait", "closed": "good"}
# The pages of the facts that entries account for; a schedule's day has none of its own.
_FACT_PAGES = {
    "ledger_transaction": "credits_ledgertransaction",
    "rated_usage": "credits_ratedusage",
    "invoice_line": "invoicing_invoiceline",
    "credit_note": "invoicing_creditnote",
    "payment": "invoicing_payment",
}


class PostingInline(ReadOnlyInline):
    """An entry's postings: debits on the left, credits on the right, equal in sum."""

    model = Posting
    fields = (
        link("account"),
        "debit",
        "credit",
        link("customer"),
        link("obligation"),
        "service_start_on",
        "service_end_on",
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


class SourceInline(ReadOnlyInline):
    """Which facts an entry accounts for."""

    model = EntrySource
    fields = ("fact", "role")
    ordering = ("id",)
    verbose_name_plural = "sources"
    tab = False

    def fact(self, source: EntrySource) -> str:
        """Link to the fact that was accounted for."""
        return _fact_link(source)


class CloseForm(ReasonForm):
    """What is signed with a month's close, and why."""

    subject: AccountingPeriod
    before_template = "backoffice/trial_balance.html"

    def facts(self) -> list[tuple[str, Any]]:
        """List the month's bounds."""
        period = self.subject
        return [("Month", str(period)), ("From", period.start_on), ("To, exclusive", period.end_on)]

    def rows(self) -> list[dict[str, str]]:
        """List the trial balance as it stands; what is still due is recognised before the close."""
        return _balance_rows(self.subject)


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyAdmin):
    """The chart of accounts."""

    list_display = ("code", "name", "is_debit_normal", "is_monetary")
    search_fields = ("code", "name")
    ordering = ("code",)
    fields = ("code", "name", "is_debit_normal", "is_monetary")


@admin.register(AccountingPeriod)
class AccountingPeriodAdmin(ReadOnlyAdmin):
    """Months of the books; once closed, nothing is dated inside one."""

    list_display = (
        "__str__",
        "start_on",
        "end_on",
        badge("status", _STATUSES),
        moment("closed_at"),
        link("closed_by"),
    )
    list_filter = ("status",)
    list_select_related = ("closed_by",)
    ordering = ("-start_on",)
    fieldsets = (
        (None, {"fields": (("start_on", "end_on"), badge("status", _STATUSES))}),
        ("Close", {"fields": ("closed_at", link("closed_by"), "trial_balance_sha256")}),
        ("Seal of the journal", {"fields": ("seal_page", "seal_head", "seal_verdict")}),
        ("Trial balance", {"fields": ("balance",)}),
        ("Deferred revenue", {"fields": ("deferred",)}),
    )
    actions_detail = ("close", "seal")

    @admin.display(description="Seal")
    def seal_page(self, period: AccountingPeriod) -> str:
        """Link to the seal that the close left."""
        seal = seal_of(period)
        return object_link(seal) if seal else "The journal is sealed when the month closes."

    @admin.display(description="Head")
    def seal_head(self, period: AccountingPeriod) -> str:
        """Show the last entry that the seal covers."""
        seal = seal_of(period)
        return f"position {seal.head_position}, {seal.head_sha256}" if seal else EMPTY

    @admin.display(description="Now")
    def seal_verdict(self, period: AccountingPeriod) -> Any:
        """Say whether the signature holds and the journal still has the head."""
        seal = seal_of(period)
        return verdict_of(seal) if seal else EMPTY

    @admin.display(description="Trial balance")
    def balance(self, period: AccountingPeriod) -> str:
        """Show each account's opening, movements and closing."""
        return render_to_string("backoffice/trial_balance.html", {"rows": _balance_rows(period)})

    @admin.display(description="Roll-forward")
    def deferred(self, period: AccountingPeriod) -> str:
        """Explain how deferred revenue came from opening to closing."""
        return render_to_string("backoffice/rollforward.html", {"rows": _rollforward(period)})

    @form_action(
        "Close period",
        permission="revrec.close_accountingperiod",
        form=CloseForm,
        icon="lock",
        offered=lambda period: _can_close(period, now()),
        is_final=True,
        explanation="The trial balance shown here is before the final recognition: first everything"
        " due through the month's end is recognised, then the trial balance is stored with its"
        " sha256, the journal's head is sealed, and the month is locked for good. What is learnt"
        " later is posted to the first open month.",
    )
    def close(self, by: User, period: AccountingPeriod, form: CloseForm) -> str:
        """Lock the month."""
        closed = close_period(period=period, by=by, at=now(), reason=form.cleaned_data["reason"])
        return f"Closed {closed}; trial balance {closed.trial_balance_sha256[:12]}…"

    @form_action(
        "Seal journal",
        permission="revrec.close_accountingperiod",
        icon="verified_user",
        offered=lambda p: p.status == PeriodStatus.CLOSED and seal_of(p) is None,
        is_final=True,
        explanation="The month was closed without a seal. The journal is sealed as it stands now,"
        " so the seal covers entries of later months too.",
    )
    def seal(self, by: User, period: AccountingPeriod, form: ReasonForm) -> str:
        """Sign the journal's head."""
        made = seal_period(period=period, by=by, at=now(), reason=form.cleaned_data["reason"])
        return f"Sealed the journal at position {made.head_position}"


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
    list_filter = (("customer", AutocompleteSelectFilter), "kind", "period")
    list_select_related = ("customer", "period")
    search_fields = ("id", "source_key", "customer__external_id")
    search_help_text = "12 for JE-12, a source key or a customer, exactly"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("effective_on", link("period")),
                    ("kind", link("customer")),
                    "description",
                    link("reverses"),
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


def _can_close(period: AccountingPeriod, at: datetime) -> bool:
    """Tell whether a month is open and over."""
    return period.status == PeriodStatus.OPEN and midnight(period.end_on) <= at


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


def _balance_rows(period: AccountingPeriod) -> list[dict[str, str]]:
    return [
        {
            "account": f"{row.account} {row.name}",
            "opening": money_text(row.opening_minor, row.currency),
            "debit": money_text(row.debit_minor, row.currency),
            "credit": money_text(row.credit_minor, row.currency),
            "closing": money_text(row.closing_minor, row.currency),
        }
        for row in trial_balance(period.start_on, period.end_on)
    ]


def _rollforward(period: AccountingPeriod) -> list[tuple[str, str]]:
    """List the steps from opening to closing; what lowers the liability is negative."""
    rows: list[tuple[str, str]] = []
    for part in deferred_rollforward(period):
        steps = (
            ("Opening", part.opening_minor),
            ("Billings", part.billings_minor),
            ("Fees earned", -part.fees_minor),
            ("Credits used", -part.usage_minor),
            ("Breakage", -part.breakage_minor),
            ("Credit notes", -part.credit_notes_minor),
            ("Not explained", part.other_minor),
            ("Closing", part.closing_minor),
        )
        rows += [(name, money_text(minor, part.currency)) for name, minor in steps]
    return rows


offer_list(Customer, JournalEntry, lambda c: {"customer__id__exact": c.pk}, icon="menu_book")
offer_list(LedgerAccount, Posting, lambda a: {"account__code__exact": a.pk}, icon="balance")
offer_list(AccountingPeriod, JournalEntry, lambda p: {"period__id__exact": p.pk}, icon="menu_book")
