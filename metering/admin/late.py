"""Rules for late events, and until when each customer's usage is invoiced."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    badge,
    badge_html,
    link,
    moment,
    moment_html,
    moment_text,
    sentence_text,
)
from billing_project.kernel.backoffice.forms import ActionForm
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.period import Period
from metering.models import Customer, InvoicedUsage, LateEventPolicy
from metering.models.late import LateTreatment
from metering.selectors.late import invoiced_spans, late_treatments

_TREATMENTS = {"next_invoice": "info", "credit_note": "wait", "quarantine": "bad"}
_SCOPES = (("customer", "this customer"), ("default", "every customer without a rule of their own"))


class LatePolicyForm(ActionForm):
    """A version of the rule for late events, with what its approver reads."""

    subject: Customer
    scope = forms.ChoiceField(label="For", choices=_SCOPES, widget=UnfoldAdminSelectWidget)
    treatment = forms.ChoiceField(
        label="Late events go to", choices=LateTreatment.choices, widget=UnfoldAdminSelectWidget
    )
    effective_at = forms.SplitDateTimeField(
        label="Governs from (UTC)", widget=UnfoldAdminSplitDateTimeWidget, initial=now
    )
    title = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)
    product_requirement = forms.CharField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))
    engineering_note = forms.CharField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))
    reason_code = forms.CharField(max_length=40, widget=UnfoldAdminTextInputWidget)

    def facts(self) -> list[tuple[str, Any]]:
        """List what governs now, and from when events are late."""
        pk = self.subject.pk
        spans = invoiced_spans([pk]).get(pk, ())
        return [
            ("Customer", self.subject.name),
            ("Late events go to", late_treatments([pk], now())[pk].label),
            ("Usage is invoiced", "; ".join(map(_span_text, spans)) or "not yet"),
        ]

    def proposal(self) -> Proposal:
        """Return why the version is wanted."""
        said = self.cleaned_data
        effective_at: datetime = said["effective_at"]
        return Proposal(
            title=said["title"],
            product_requirement=said["product_requirement"],
            engineering_note=said["engineering_note"],
            reason_code=said["reason_code"],
            effective_at=effective_at,
        )


@admin.register(LateEventPolicy)
class LateEventPolicyAdmin(ReadOnlyAdmin):
    """What becomes of events of an invoiced period; without a version, the next invoice bills."""

    list_display = (
        "__str__",
        "whose",
        badge("treatment", _TREATMENTS),
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("treatment", "policy_change__status", ("customer", AutocompleteSelectFilter))
    list_select_related = ("customer", "policy_change")
    search_fields = ("customer__external_id", "policy_change__subject")
    search_help_text = "Customer's external id, or the policy change's subject"
    ordering = ("-id",)
    fields = (
        "whose",
        "number",
        badge("treatment", _TREATMENTS),
        "meaning",
        "status",
        "governs_from",
        link("policy_change"),
    )

    @admin.display(description="For")
    def whose(self, policy: LateEventPolicy) -> str:
        """Say whose events the version is about."""
        return str(policy.customer) if policy.customer else "Every other customer"

    @admin.display(description="Late events go to")
    def meaning(self, policy: LateEventPolicy) -> str:
        """Say in words what the version does."""
        return sentence_text(LateTreatment(policy.treatment).label)

    @admin.display(description="Status")
    def status(self, policy: LateEventPolicy) -> str:
        """Show the decision on the version."""
        return badge_html(policy.policy_change.status, POLICY_TONES[policy.policy_change.status])

    @admin.display(description="Governs from")
    def governs_from(self, policy: LateEventPolicy) -> str:
        """Show when an approved version starts to govern."""
        return moment_html(policy.policy_change.effective_at)


@admin.register(InvoicedUsage)
class InvoicedUsageAdmin(ReadOnlyAdmin):
    """Spans whose usage is invoiced: events of them that come now are late."""

    list_display = (
        link("customer"),
        moment("start_at", "from"),
        moment("end_at", "until"),
        "source_key",
        moment("recorded_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter),)
    list_select_related = ("customer",)
    search_fields = ("source_key", "customer__external_id")
    search_help_text = "Source key, or the customer's external id"
    ordering = ("-id",)
    fields = (
        link("customer"), moment("start_at", "from"), moment("end_at", "until"), "source_key",
        "recorded_at",
    )  # fmt: skip


def _span_text(span: Period) -> str:
    if span.start.year == 1:
        return f"until {moment_text(span.end)}"
    return f"{moment_text(span.start)} to {moment_text(span.end)}"


offer_list(
    Customer,
    LateEventPolicy,
    lambda customer: {"customer__id__exact": customer.pk},
    icon="schedule_send",
)
