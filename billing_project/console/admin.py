"""Pages that take several apps: what is done for a customer, lineage links, the worker's tasks."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django_q.models import Failure, OrmQ, Schedule, Success
from unfold.widgets import UnfoldAdminDateWidget

from billing_project.console.account import figures_of
from billing_project.console.customer_sections import sections_of
from billing_project.console.freshness import freshness_of
from billing_project.console.navigation import lineage_url
from billing_project.console.timeline import MOST, timeline_of
from billing_project.console.window_events_page import window_events_url
from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    moment,
    moment_text,
    money_text,
    number_text,
    object_link,
)
from billing_project.kernel.backoffice.forms import AmountField
from billing_project.kernel.backoffice.related import Link, offer
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from credits.admin.grant_forms import CreditForm, GrantForm, PaidGrantForm
from credits.admin.recurring_forms import RecurringForm
from credits.models import LedgerTransaction, RatedUsage
from invoicing.admin.entities import AddressForm, EntityForm, SplitForm, is_entity_open
from invoicing.admin.selling_forms import SellPlanForm
from invoicing.models import CreditNote, Invoice, InvoiceLine, SplitBy, Subscription
from invoicing.services.entities import assign_entity, record_address
from invoicing.services.packs import sell_commitment, sell_credit_pack
from invoicing.services.splitting import split_invoices
from metering.admin.customers import CustomerAdmin
from metering.models import Customer, MeterEvent, QuarantinedEvent, UsageWindow
from revrec.models import AccountingPeriod, JournalEntry


class PackForm(CreditForm):
    """Credits that the customer pays for in advance."""

    price = AmountField()

    def __init__(self, *args: Any, subject: Customer, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        currency = subject.currency
        self.fields["price"] = AmountField(currency=currency, label=f"Price in {currency}")


class CommitmentForm(PackForm):
    """Credits for a term, which the customer pays for ahead of it."""

    start_on = forms.DateField(label="Term begins on", widget=UnfoldAdminDateWidget)
    end_on = forms.DateField(
        label="Term ends before", widget=UnfoldAdminDateWidget,
        help_text="Credits that are left then end, and nothing of the price goes back.",
    )  # fmt: skip


admin.site.unregister(Customer)


@admin.register(Customer)
class CustomerPage(CustomerAdmin):
    """A customer, with what people do for one."""

    actions_detail = (
        "grant_credits",
        "give_every_period",
        "sell_plan",
        "sell_pack",
        "sell_committed",
        "grant_paid",
        "bill_by",
        "set_address",
        "split_invoices",
        *CustomerAdmin.actions_detail,
    )
    change_form_outer_before_template = "console/customer.html"
    change_form_outer_after_template = "console/customer_sections.html"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add the figures at the top."""
        if context.get("original") is not None:
            at = now()
            context |= sections_of(context["original"], at)
            context["figures"] = figures_of(context["original"], at)
            context["freshness"] = freshness_of(at)
            context["timeline"] = timeline_of(context["original"], at)
            context["timeline_most"] = MOST
        return super().render_change_form(request, context, *args, **kwargs)

    @form_action(
        "Grant credits",
        permission="credits.grant_credits",
        form=GrantForm,
        icon="redeem",
        explanation="Credits without a price: using them earns no revenue. They cover usage that is"
        " rated from now on. A mistake is mended by voiding the grant.",
    )
    def grant_credits(self, by: User, customer: Customer, form: GrantForm) -> str:
        """Give credits that nobody pays for."""
        return _granted(form, by)

    @form_action(
        "Give every period",
        permission="credits.grant_credits",
        form=RecurringForm,
        icon="event_repeat",
        explanation="The same credits every day, week or month, under approved terms, until the"
        " rule is paused or ended. Each period is given once.",
    )
    def give_every_period(self, by: User, customer: Customer, form: RecurringForm) -> str:
        """Make a rule that gives credits every period."""
        rule = form.create(by=by, at=now())
        given = f"{number_text(rule.amount)} {rule.pricing_unit.code}"
        return format_html("{} gives {} every period.", object_link(rule), given)

    @form_action(
        "Record paid credits",
        permission="invoicing.record_payment",
        form=PaidGrantForm,
        icon="savings",
        explanation="Credits that were sold and paid for outside of this system: the price is"
        " booked as cash received and deferred until the credits are used. No invoice is issued;"
        " to invoice credits, sell a pack.",
    )
    def grant_paid(self, by: User, customer: Customer, form: PaidGrantForm) -> str:
        """Give credits that were paid for."""
        return _granted(form, by)

    @form_action(
        "Sell plan",
        permission="invoicing.manage_subscription",
        form=SellPlanForm,
        icon="add_shopping_cart",
        offered=lambda customer: customer.closed_at is None and not _has_plan(customer),
        explanation="The fee in advance is drafted and the included credits are granted, once it"
        " is confirmed. Periods that began since the start are opened too.",
    )
    def sell_plan(self, by: User, customer: Customer, form: SellPlanForm) -> str:
        """Begin a subscription."""
        sold = form.sell(by)
        begins = moment_text(sold.start_at)
        return format_html("Sold {} from {} on: {}.", sold.plan_version, begins, object_link(sold))

    @form_action(
        "Sell credit pack",
        permission="invoicing.finalize_invoice",
        form=PackForm,
        icon="shopping_cart",
        is_final=True,
        explanation="An invoice is issued at once; its credits come when it is paid in full.",
    )
    def sell_pack(self, by: User, customer: Customer, form: PackForm) -> str:
        """Invoice a pack of credits."""
        data = form.cleaned_data
        invoice = sell_credit_pack(
            customer=customer,
            pricing_unit=data["pricing_unit"],
            amount=data["amount"],
            price_minor=data["price"],
            key=form.key,
            by=by,
            at=now(),
        )
        total = money_text(invoice.total_minor, invoice.currency)
        return format_html("Issued {} over {}.", object_link(invoice), total)

    @form_action(
        "Sell commitment",
        permission="invoicing.finalize_invoice",
        form=CommitmentForm,
        icon="handshake",
        is_final=True,
        explanation="An invoice is issued at once; its credits come when it is paid in full, and"
        " end with the term. What is left of them then is earned as the commitment's shortfall.",
    )
    def sell_committed(self, by: User, customer: Customer, form: CommitmentForm) -> str:
        """Invoice a commitment that is paid ahead of its term."""
        data = form.cleaned_data
        invoice = sell_commitment(
            customer=customer,
            pricing_unit=data["pricing_unit"],
            amount=data["amount"],
            price_minor=data["price"],
            start_on=data["start_on"],
            end_on=data["end_on"],
            key=form.key,
            by=by,
            at=now(),
        )
        total = money_text(invoice.total_minor, invoice.currency)
        return format_html("Issued {} over {}.", object_link(invoice), total)

    @form_action(
        "Billed by",
        permission="invoicing.assign_legalentity",
        form=EntityForm,
        icon="domain",
        offered=is_entity_open,
        is_final=True,
        explanation="From now on this legal entity issues the customer's invoices, under its own"
        " numbers. It stays: once anything is sold, nobody can say otherwise.",
    )
    def bill_by(self, by: User, customer: Customer, form: EntityForm) -> str:
        """Say which legal entity bills the customer."""
        entity = form.cleaned_data["entity"]
        assign_entity(customer=customer, entity=entity, by=by, at=now())
        return format_html("{} is billed by {}.", customer.external_id, object_link(entity))

    @form_action(
        "Address",
        permission="invoicing.record_customeraddress",
        form=AddressForm,
        icon="home_pin",
        explanation="It stands on invoices that are issued from now on; those issued before keep"
        " the address that they have.",
    )
    def set_address(self, by: User, customer: Customer, form: AddressForm) -> str:
        """Keep where the customer gets invoices by post."""
        record_address(customer=customer, address=form.cleaned_data["address"], by=by, at=now())
        return f"Kept the address of {customer}."

    @form_action(
        "Invoices by workspace",
        permission="invoicing.record_invoicesplit",
        form=SplitForm,
        icon="call_split",
        explanation="For usage that is invoiced from now on: all of it on one invoice, or on one"
        " for each workspace, and one for what is the account's: fees, commits, outcomes, and usage"
        " of no workspace. Limits and approvals are about all of them together.",
    )
    def split_invoices(self, by: User, customer: Customer, form: SplitForm) -> str:
        """Say how usage is invoiced."""
        said = form.cleaned_data
        split_invoices(
            customer=customer, split_by=said["split_by"], reason=said["reason"], by=by, at=now()
        )
        return f"Usage of {customer} is invoiced so: {SplitBy(said['split_by']).label}."


def _has_plan(customer: Customer) -> bool:
    return Subscription.objects.filter(customer=customer, ends_at=None).exists()


def _granted(form: GrantForm, by: User) -> str:
    grant = form.issue(by=by, at=now())
    given = f"{number_text(grant.amount)} {grant.pricing_unit.code}"
    return format_html("Granted {}: {}.", given, object_link(grant))


for _model in (Success, Failure, Schedule, OrmQ):
    admin.site.unregister(_model)


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    """What the worker does, and when next."""

    list_display = ("name", "func", "schedule_type", "minutes", moment("next_run"))
    ordering = ("name",)
    fields = ("name", "func", "schedule_type", "minutes", "repeats", "next_run")


@admin.register(Success)
class SuccessAdmin(ReadOnlyAdmin):
    """Tasks that went well; the newest hundred are kept."""

    list_display = ("name", "func", moment("started"), moment("stopped"))
    ordering = ("-started",)
    fields = ("name", "func", "started", "stopped")


@admin.register(Failure)
class FailureAdmin(ReadOnlyAdmin):
    """Tasks that failed; their next run finds the same work."""

    list_display = ("name", "func", moment("started"), moment("stopped"), "attempt_count")
    ordering = ("-started",)
    fields = ("name", "func", "started", "stopped", "attempt_count", "result")


def _offer_lineage() -> None:
    """Link every step of the chain to its lineage."""
    offer(MeterEvent, lambda e: _lineage("event", f"{e.customer.external_id}/{e.identifier}"))
    offer(Customer, _usage_of)
    offer(MeterEvent, lambda e: _why(e.customer.external_id, e.identifier))
    offer(QuarantinedEvent, lambda row: _why(row.customer_external_id, row.identifier))
    offer(UsageWindow, lambda w: Link("Its events", window_events_url(w.pk), "list"))
    offer(RatedUsage, lambda rated: _lineage("rated_usage", rated.pk))
    offer(LedgerTransaction, lambda row: _lineage("ledger_transaction", row.pk))
    offer(Invoice, lambda i: _lineage("invoice", i.number) if i.number else None)
    offer(
        InvoiceLine,
        lambda line: (
            _lineage("invoice_line", f"{line.invoice.number}:{line.position}")
            if line.invoice.number
            else None
        ),
    )
    offer(CreditNote, lambda note: _lineage("credit_note", note.number))
    offer(JournalEntry, lambda entry: _lineage("journal_entry", entry.pk))
    offer(AccountingPeriod, lambda period: _lineage("period", period))


def _lineage(kind: str, name: object) -> Link:
    return Link("Lineage", lineage_url(kind, name), "account_tree")


def _usage_of(customer: Customer) -> Link:
    query = urlencode({"customer": customer.external_id})
    return Link("Usage by day", f"{reverse('console:usage')}?{query}", "bar_chart")


def _why(customer: str, identifier: str) -> Link:
    query = urlencode({"q": f"{customer}/{identifier}"})
    return Link("Is it billed, and why?", f"{reverse('console:why')}?{query}", "help")


_offer_lineage()
