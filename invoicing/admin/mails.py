"""How customers see their invoices: mails with tries and answers, and links that can be revoked."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminEmailInputWidget

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge_html, link, moment, moment_text
from billing_project.kernel.backoffice.forms import ReasonField, ReasonForm
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from invoicing.admin.forms import InvoiceForm
from invoicing.models import HostedLink, Invoice, InvoiceMail, InvoiceStatus
from invoicing.selectors import is_issued
from invoicing.services.links import link_to, revoke_links, token_of
from invoicing.services.mails import ask_for_mail

_TONES = {"waits": "wait", "sent": "good", "given up": "bad"}


class SendForm(InvoiceForm):
    """Whom a mail goes to."""

    address = forms.EmailField(
        label="Address",
        widget=UnfoldAdminEmailInputWidget(),
        help_text="Gets the document, and a link to a page that shows what is still to pay.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["address"].initial = self.subject.customer.email


def _is_sendable(invoice: Invoice) -> bool:
    return is_issued(invoice) and invoice.status != InvoiceStatus.VOID


class SendingActions:
    """Buttons on an invoice: its customer's page, and a mail."""

    @form_action(
        "Customer's page",
        permission="invoicing.send_invoicemail",
        form=InvoiceForm,
        icon="open_in_new",
        offered=is_issued,
        explanation="Makes a link like the one that the customer gets by mail, or takes one that"
        " still lasts. Whoever has it reads the invoice.",
    )
    def customer_page(self, by: User, invoice: Invoice, form: InvoiceForm) -> str:
        """Make a link to the page that the customer sees."""
        made = link_to(invoice=invoice, by=by, at=now())
        address = reverse("hosted_invoice", args=[token_of(made)])
        until = moment_text(made.expires_at)
        words = '<a href="{}" target="_blank" rel="noopener">{}</a>, until {}'
        return format_html(words, address, f"The customer's page of {invoice}", until)

    @form_action(
        "Send by mail",
        permission="invoicing.send_invoicemail",
        form=SendForm,
        icon="mail",
        offered=_is_sendable,
        explanation="The worker sends it within a minute, and tries again for three days where the"
        " server of the address is away.",
    )
    def send(self, by: User, invoice: Invoice, form: SendForm) -> str:
        """Queue a mail."""
        address = form.cleaned_data["address"]
        ask_for_mail(invoice=invoice, address=address, key=form.key, by=by, at=now())
        return f"{invoice} goes to {address} within a minute."


class _StateFilter(admin.SimpleListFilter):
    """Show mails by how far they are."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the three states."""
        return [("next_try_at", "waits"), ("sent_at", "sent"), ("given_up_at", "given up")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Filter by the one instant that a state has."""
        if self.value() is None:
            return queryset
        return queryset.filter(**{f"{self.value()}__isnull": False})


@admin.register(InvoiceMail)
class InvoiceMailAdmin(ReadOnlyAdmin):
    """Mails with invoices: who got which, what waits, and which addresses refuse."""

    list_display = (
        "__str__",
        link("invoice"),
        link("invoice.customer", "customer"),
        "shown_state",
        "attempts",
        "failure",
        moment("queued_at"),
        moment("sent_at"),
    )
    list_filter = (_StateFilter,)
    list_select_related = ("invoice__customer", "queued_by")
    search_fields = ("address", "invoice__number", "invoice__customer__external_id")
    search_help_text = "Address, invoice number or customer"
    fields = (
        link("invoice"),
        "address",
        "shown_state",
        "attempts",
        "failure",
        "queued_at",
        link("queued_by"),
        "next_try_at",
        "sent_at",
        "given_up_at",
        "source_key",
    )

    @admin.display(description="State")
    def shown_state(self, mail: InvoiceMail) -> str:
        """Show how far it is."""
        return badge_html(mail.state, _TONES[mail.state])


def _is_standing(link: HostedLink) -> bool:
    return link.revoked_at is None and link.expires_at > now()


class RevokeForm(ReasonForm):
    """Why nobody may read under it any more."""

    reason = ReasonField(max_length=500)


@admin.register(HostedLink)
class HostedLinkAdmin(ReadOnlyAdmin):
    """Links under which customers see an invoice without a login."""

    list_display = (
        "__str__",
        link("invoice"),
        link("invoice.customer", "customer"),
        moment("made_at"),
        link("made_by"),
        moment("expires_at"),
        moment("revoked_at"),
    )
    list_select_related = ("invoice__customer", "made_by", "revoked_by")
    search_fields = ("invoice__number", "invoice__customer__external_id")
    search_help_text = "Invoice number or customer"
    fields = (
        link("invoice"),
        "made_at",
        link("made_by"),
        "expires_at",
        "revoked_at",
        link("revoked_by"),
        "revoke_reason",
    )
    actions_detail = ("revoke",)

    @form_action(
        "Revoke",
        permission="invoicing.revoke_hostedlink",
        form=RevokeForm,
        icon="link_off",
        offered=_is_standing,
        is_final=True,
        takes_away=True,
        explanation="For a link that came into wrong hands: all links to the invoice end, and its"
        " page says that they are not valid any more. It can be sent again, under a new link.",
    )
    def revoke(self, by: User, link: HostedLink, form: RevokeForm) -> str:
        """End all links to the link's invoice."""
        reason = form.cleaned_data["reason"]
        count = revoke_links(invoice=link.invoice, reason=reason, by=by, at=now())
        return f"No link to {link.invoice} is valid any more; ended: {count}."


offer_list(Invoice, InvoiceMail, lambda i: {"invoice__id__exact": i.pk}, icon="mail")
offer_list(Invoice, HostedLink, lambda i: {"invoice__id__exact": i.pk}, icon="link")
