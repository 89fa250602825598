"""Who is billed, under which names, and the parts of them that use."""

from django.contrib import admin
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import HistoryAdmin, ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import link, moment, object_link
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from metering.admin.late import LatePolicyForm
from metering.admin.ranges import BackfillRangeForm
from metering.models import (
    Customer,
    CustomerAlias,
    MeterEvent,
    MeterEventAdjustment,
    QuarantinedEvent,
    UsageWindow,
    Workspace,
)
from metering.services.backfills import start_backfill
from metering.services.customers import close_customer, reopen_customer
from metering.services.late import propose_late_event_policy


class WorkspaceInline(ReadOnlyInline):
    """A customer's workspaces."""

    model = Workspace
    fields = ("external_id", "name", "created_at")


class AliasInline(ReadOnlyInline):
    """Other names under which a customer's usage comes."""

    model = CustomerAlias
    fields = ("external_id", "reason", link("created_by"), "created_at")
    list_select_related = ("created_by",)


@admin.register(Customer)
class CustomerAdmin(HistoryAdmin):
    """Who is billed; what other apps keep about a customer is linked at the top."""

    list_display = (
        "external_id",
        "name",
        "currency",
        "country",
        "time_zone",
        "email",
        moment("created_at"),
        moment("closed_at"),
    )
    list_filter = ("currency", "country", ("closed_at", admin.EmptyFieldListFilter))
    search_fields = ("external_id", "name", "email", "aliases__external_id")
    search_help_text = "External id, alias, name or email"
    fields = (
        "external_id", "name", "currency", "time_zone", "country", "email", "locale",
        "created_at", "closed_at",
    )  # fmt: skip
    inlines = (WorkspaceInline, AliasInline)
    actions_detail: tuple[str, ...] = (
        "propose_late_policy",
        "backfill_usage",
        "close_customer",
        "reopen_customer",
    )

    @form_action(
        "Propose late-event rule",
        permission="kernel.propose_policychange",
        form=LatePolicyForm,
        icon="schedule_send",
        explanation="An event is late whose time of use lies in a period that is invoiced. This"
        " version governs events that arrive from its effective date on, once a finance approver"
        " approved it.",
    )
    def propose_late_policy(self, by: User, customer: Customer, form: LatePolicyForm) -> str:
        """Propose what becomes of late events."""
        is_own = form.cleaned_data["scope"] == "customer"
        policy = propose_late_event_policy(
            customer=customer if is_own else None,
            treatment=form.cleaned_data["treatment"],
            proposal=form.proposal(),
            by=by,
            at=now(),
        )
        return f"Proposed {policy.policy_change.subject}: a finance approver decides."

    @form_action(
        "Backfill usage",
        permission="metering.make_backfill",
        form=BackfillRangeForm,
        icon="history",
        explanation="Begins to replace the customer's events of a time range as one object. Its"
        " events are uploaded next; nothing changes before somebody else approved it.",
    )
    def backfill_usage(self, by: User, customer: Customer, form: BackfillRangeForm) -> str:
        """Begin a backfill."""
        data = form.cleaned_data
        backfill = start_backfill(
            customer=customer,
            start_at=data["start_at"],
            end_at=data["end_at"],
            event_names=data["event_names"],
            reason=data["reason"],
            by=by,
            at=now(),
        )
        return format_html("Began {}: upload its events.", object_link(backfill))

    @form_action(
        "Close",
        permission="metering.close_customer",
        icon="block",
        offered=lambda customer: customer.closed_at is None,
        takes_away=True,
        explanation="No credits are given or sold to the customer any more. What was promised"
        " before still comes, and usage is still counted and billed. Reopen undoes it.",
    )
    def close_customer(self, by: User, customer: Customer, form: ReasonForm) -> str:
        """Give and sell no more credits."""
        close_customer(customer=customer, by=by, at=now(), reason=form.cleaned_data["reason"])
        return f"Closed {customer}."

    @form_action(
        "Reopen",
        permission="metering.close_customer",
        icon="lock_open",
        offered=lambda customer: customer.closed_at is not None,
        explanation="Credits are given and sold again from now on; nothing that fell due meanwhile"
        " is given after the fact.",
    )
    def reopen_customer(self, by: User, customer: Customer, form: ReasonForm) -> str:
        """Undo a closing."""
        reopen_customer(customer=customer, by=by, at=now(), reason=form.cleaned_data["reason"])
        return f"Reopened {customer}."


@admin.register(Workspace)
class WorkspaceAdmin(HistoryAdmin):
    """Parts of customers that use on their own."""

    list_display = ("external_id", "name", link("customer"), moment("created_at"))
    list_filter = (("customer", AutocompleteSelectFilter),)
    list_select_related = ("customer",)
    search_fields = ("external_id", "name", "customer__external_id")
    search_help_text = "External id, name, or the customer's external id"
    fields = ("external_id", "name", link("customer"), "created_at")


@admin.register(CustomerAlias)
class CustomerAliasAdmin(ReadOnlyAdmin):
    """Names that were mapped to customers, and why."""

    list_display = (
        "external_id",
        link("customer"),
        "reason",
        link("created_by"),
        moment("created_at"),
    )
    list_select_related = ("customer", "created_by")
    search_fields = ("external_id", "customer__external_id")
    search_help_text = "Alias, or the customer's external id"
    fields = ("external_id", link("customer"), "reason", link("created_by"), "created_at")


def _of_customer(customer: Customer) -> dict[str, object]:
    return {"customer__id__exact": customer.pk}


offer_list(Customer, MeterEvent, _of_customer, icon="bolt")
offer_list(Customer, UsageWindow, _of_customer, icon="schedule")
offer_list(Customer, MeterEventAdjustment, _of_customer, title="Adjustments", icon="tune")
offer_list(
    Customer,
    QuarantinedEvent,
    lambda customer: {"customer_external_id__exact": customer.external_id},
    title="Quarantine",
    icon="report",
)
offer_list(Workspace, UsageWindow, lambda workspace: {"workspace__id__exact": workspace.pk})
