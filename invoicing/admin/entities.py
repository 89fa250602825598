"""Legal entities, what they are called by approved versions, and whom each bills: finance."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge_html, link, moment, moment_html
from billing_project.kernel.backoffice.forms import ActionForm, ReasonField, ReasonForm
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import in_force
from invoicing.models import (
    CustomerAddress,
    CustomerEntity,
    Invoice,
    InvoiceSplit,
    LegalEntity,
    LegalEntityVersion,
    NumberSeries,
    SplitBy,
    Subscription,
)
from invoicing.selectors.entities import address_of
from invoicing.selectors.splitting import split_of
from metering.models import Customer


class EntityForm(ActionForm):
    """Who bills a customer."""

    subject: Customer
    entity = forms.ModelChoiceField(
        LegalEntity.objects.exclude(series_prefix=""), widget=UnfoldAdminSelectWidget
    )

    def facts(self) -> list[tuple[str, Any]]:
        """Say whom it is about."""
        return [("Customer", self.subject.name), ("Country", self.subject.country or "none")]


class AddressForm(ActionForm):
    """A customer's postal address."""

    subject: Customer
    address = forms.CharField(
        required=False,
        strip=True,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 5}),
        help_text="One to six lines, as on an envelope; none ends it.",
    )

    def __init__(self, *args: Any, subject: Customer, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["address"].initial = address_of(subject)


class SplitForm(ReasonForm):
    """How a customer's usage is invoiced."""

    subject: Customer
    split_by = forms.ChoiceField(
        label="Usage is invoiced on", choices=SplitBy.choices, widget=UnfoldAdminSelectWidget
    )
    reason = ReasonField(max_length=500)

    def __init__(self, *args: Any, subject: Customer, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["split_by"].initial = split_of(subject)
        self.order_fields(["split_by", "reason"])

    def facts(self) -> list[tuple[str, Any]]:
        """Say how it is invoiced now."""
        return [("Customer", self.subject.name), ("Now on", split_of(self.subject).label)]


def is_entity_open(customer: Customer) -> bool:
    """Tell whether it can still be said who bills a customer, and there is a choice."""
    return (
        LegalEntity.objects.exclude(series_prefix="").exists()
        and not CustomerEntity.objects.filter(customer=customer).exists()
        and not Subscription.objects.filter(customer=customer).exists()
        and not Invoice.objects.filter(customer=customer).exists()
    )


class VersionInline(ReadOnlyInline):
    """What the entity is called, newest first."""

    model = LegalEntityVersion
    fields = (
        "number",
        "legal_name",
        "address",
        "tax_number",
        "country",
        "currency",
        "status",
        link("policy_change"),
    )
    list_select_related = ("policy_change",)
    verbose_name_plural = "versions"
    tab = False

    @admin.display(description="Status")
    def status(self, version: LegalEntityVersion) -> str:
        """Show the decision on the version."""
        return badge_html(version.policy_change.status, POLICY_TONES[version.policy_change.status])


class SeriesInline(ReadOnlyInline):
    """The entity's numbers."""

    model = NumberSeries
    fields = ("code", "last_number")
    verbose_name_plural = "number series"
    tab = False


@admin.register(LegalEntity)
class LegalEntityAdmin(ReadOnlyAdmin):
    """Who sells; the main entity is called by the settings until its first version governs."""

    list_display = ("code", "prefix", "called", "customers", moment("created_at"))
    search_fields = ("code", "series_prefix", "versions__legal_name")
    search_help_text = "Code, prefix or legal name"
    ordering = ("id",)
    fields = ("code", "prefix", "created_at")
    inlines = (VersionInline, SeriesInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LegalEntity]:
        """Find what each is called now, and count whom it bills by name."""
        governing = LegalEntityVersion.objects.filter(
            in_force(now(), "policy_change__"), entity=OuterRef("pk")
        ).order_by("-policy_change__effective_at", "-number")
        billed = (
            CustomerEntity.objects.filter(entity=OuterRef("pk"))
            .order_by()
            .values("entity")
            .annotate(n=Count("pk"))
            .values("n")
        )
        found: QuerySet[LegalEntity] = (
            super()
            .get_queryset(request)
            .annotate(
                called_now=Subquery(governing.values("legal_name")[:1]), billed=Subquery(billed)
            )
        )
        return found

    @admin.display(description="Numbers begin with")
    def prefix(self, entity: LegalEntity) -> str:
        """Show an example of its numbers."""
        return f"{entity.series_prefix}-INV" if entity.series_prefix else "INV"

    @admin.display(description="Called now")
    def called(self, entity: Any) -> str:
        """Show its legal name in force."""
        return str(entity.called_now or "as the settings say")

    @admin.display(description="Customers")
    def customers(self, entity: Any) -> str:
        """Count whom it bills; the main entity bills all others."""
        return str(entity.billed or 0) if entity.series_prefix else "all others"


@admin.register(LegalEntityVersion)
class LegalEntityVersionAdmin(ReadOnlyAdmin):
    """What documents say of an entity; drafted as policy changes."""

    list_display = (
        "__str__",
        link("entity"),
        "legal_name",
        "tax_number",
        "country",
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("entity", "policy_change__status")
    list_select_related = ("entity", "policy_change")
    search_fields = ("legal_name", "tax_number", "policy_change__subject")
    search_help_text = "Legal name, tax number or the policy change's subject"
    ordering = ("-id",)
    fields = (
        link("entity"),
        "number",
        "status",
        "governs_from",
        link("policy_change"),
        "legal_name",
        "address",
        "tax_number",
        "country",
        "currency",
    )

    @admin.display(description="Status")
    def status(self, version: LegalEntityVersion) -> str:
        """Show the decision on the version."""
        return badge_html(version.policy_change.status, POLICY_TONES[version.policy_change.status])

    @admin.display(description="In force from")
    def governs_from(self, version: LegalEntityVersion) -> str:
        """Show since when the version counts."""
        return moment_html(version.policy_change.effective_at)


@admin.register(CustomerAddress)
class CustomerAddressAdmin(ReadOnlyAdmin):
    """Customers' postal addresses; the newest of a customer stands on their next invoices."""

    list_display = ("__str__", link("customer"), moment("recorded_at"), link("recorded_by"))
    list_select_related = ("customer", "recorded_by")
    search_fields = ("address", "customer__external_id", "customer__name")
    search_help_text = "Address or customer"
    fields = (link("customer"), "address", "recorded_at", link("recorded_by"))


@admin.register(InvoiceSplit)
class InvoiceSplitAdmin(ReadOnlyAdmin):
    """How customers' usage is invoiced; the newest of a customer counts."""

    list_display = (
        link("customer"), "split_by", "reason", moment("recorded_at"), link("recorded_by"),
    )  # fmt: skip
    list_filter = ("split_by",)
    list_select_related = ("customer", "recorded_by")
    search_fields = ("customer__external_id", "customer__name")
    search_help_text = "Customer"
    fields = (link("customer"), "split_by", "reason", "recorded_at", link("recorded_by"))


@admin.register(CustomerEntity)
class CustomerEntityAdmin(ReadOnlyAdmin):
    """Customers whom another entity than the main one bills."""

    list_display = (link("customer"), link("entity"), moment("recorded_at"), link("recorded_by"))
    list_filter = ("entity",)
    list_select_related = ("customer", "entity", "recorded_by")
    search_fields = ("customer__external_id", "customer__name")
    search_help_text = "Customer"
    fields = (link("customer"), link("entity"), "recorded_at", link("recorded_by"))


offer_list(Customer, CustomerAddress, lambda c: {"customer__id__exact": c.pk}, icon="home_pin")
offer_list(Customer, InvoiceSplit, lambda c: {"customer__id__exact": c.pk}, icon="call_split")
offer_list(Customer, CustomerEntity, lambda c: {"customer__id__exact": c.pk}, icon="domain")
offer_list(LegalEntity, CustomerEntity, lambda e: {"entity__id__exact": e.pk}, icon="groups")
