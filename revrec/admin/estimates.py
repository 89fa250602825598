"""Estimates that revenue rests on: proposed here with their evidence, approved by finance."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.backoffice.actions import list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge_html, link, moment_html, money, pairs
from billing_project.kernel.backoffice.forms import ActionForm
from billing_project.kernel.backoffice.numbers import TypedDecimalField
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from revrec.breakage import Method
from revrec.models import BreakageEstimate, LossEstimate, VariableEstimate
from revrec.schedule import start_of
from revrec.selectors.zone import books_zone
from revrec.services.estimates import BreakageTerms, propose_breakage

_METHODS = {
    Method.PROPORTIONAL: "Proportional: as the other credits are used",
    Method.REMOTE: "Remote: when the credits expire",
    Method.ESCHEAT: "Unclaimed property: never revenue",
}


class BreakageForm(ActionForm):
    """Which cohorts, which method, on what evidence."""

    code = forms.SlugField(
        label="Name", max_length=64, widget=UnfoldAdminTextInputWidget,
        help_text="Of the cohorts it is about; a later version with the same name replaces it.",
    )  # fmt: skip
    currency = forms.CharField(max_length=3, initial="USD", widget=UnfoldAdminTextInputWidget)
    sold_from = forms.DateField(label="Sold from, a first", widget=UnfoldAdminDateWidget)
    sold_until = forms.DateField(
        label="Sold until, exclusive", required=False, widget=UnfoldAdminDateWidget
    )
    method = forms.ChoiceField(choices=list(_METHODS.items()), widget=UnfoldAdminSelectWidget)
    rate = TypedDecimalField(
        label="Share never used", min_value=0, max_value=1, max_digits=9, decimal_places=8,
        initial=0, widget=UnfoldAdminDecimalFieldWidget,
        help_text="Of the price, 0.10 for a tenth; nothing unless proportional.",
    )  # fmt: skip
    refundable_terms = forms.CharField(
        label="Refundable terms", required=False, widget=UnfoldAdminTextInputWidget,
        help_text="Codes of grant terms under which customers may have their money back, with"
        " commas between: their credits are left out.",
    )  # fmt: skip
    of_commitments = forms.BooleanField(
        label="Of commitments that were paid ahead", required=False,
        widget=UnfoldBooleanSwitchWidget, help_text="Else of credits that were bought in packs.",
    )  # fmt: skip
    effective_on = forms.DateField(label="Closes follow it from", widget=UnfoldAdminDateWidget)
    evidence = forms.CharField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="What the rate rests on, for an auditor to read.",
    )

    def clean_currency(self) -> str:
        """Write it in capitals."""
        return str(self.cleaned_data["currency"]).upper()

    def clean_refundable_terms(self) -> tuple[str, ...]:
        """Read the codes."""
        codes = str(self.cleaned_data["refundable_terms"]).split(",")
        return tuple(code.strip() for code in codes if code.strip())

    def clean_sold_from(self) -> Any:
        """Cohorts are months of sale."""
        day = self.cleaned_data["sold_from"]
        if day.day != 1:
            raise ValidationError("Cohorts are months of sale: it begins on a first.")
        return day


class _VersionAdmin(ReadOnlyAdmin):
    """Versions and where their approval stands."""

    fields: ClassVar[tuple[Any, ...] | None] = None
    fieldsets: ClassVar[tuple[Any, ...] | None] = None
    list_filter = ("policy_change__status", "currency")
    list_select_related: ClassVar[tuple[str, ...]] = ("policy_change",)
    search_fields = ("code", "policy_change__subject")

    @admin.display(description="status", ordering="policy_change__status")
    def status(self, row: BreakageEstimate | VariableEstimate | LossEstimate) -> str:
        """Show where the approval stands."""
        state = row.policy_change.status
        return badge_html(state, POLICY_TONES[state])

    @admin.display(description="closes follow it from")
    def governs_from(self, row: BreakageEstimate | VariableEstimate | LossEstimate) -> str:
        """Show from when it counts."""
        return moment_html(row.policy_change.effective_at)


@admin.register(BreakageEstimate)
class BreakageEstimateAdmin(_VersionAdmin):
    """When credits that nobody uses become revenue, cohort by cohort."""

    list_display = (
        "__str__",
        "currency",
        "sold_from",
        "sold_until",
        "method",
        "rate",
        "status",
        "governs_from",
    )
    fields = (
        ("code", "number"),
        ("currency", "sold_from", "sold_until"),
        ("method", "rate"),
        "of_commitments",
        "refundable_terms",
        "evidence",
        ("status", "governs_from", link("policy_change")),
    )
    actions_list = ("propose",)

    @list_action(
        "Propose estimate",
        permission="kernel.propose_policychange",
        form=BreakageForm,
        explanation="Finance approves it before a close follows it. A change of the estimate is"
        " caught up at the next close; closed months stay as they are.",
    )
    def propose(self, by: User, form: BreakageForm) -> tuple[BreakageEstimate, str]:
        """Propose a version."""
        said = form.cleaned_data
        at = now()
        proposal = Proposal(
            title=f"Breakage of {said['code']}",
            product_requirement=said["evidence"],
            engineering_note="Trued up at each close (IFRS 15.B46).",
            reason_code="estimate",
            effective_at=start_of(said["effective_on"], books_zone()),
        )
        terms = BreakageTerms(
            code=said["code"], currency=said["currency"], sold_from=said["sold_from"],
            sold_until=said["sold_until"], method=Method(said["method"]), rate=said["rate"],
            evidence=said["evidence"], refundable_terms=said["refundable_terms"],
            of_commitments=said["of_commitments"],
        )  # fmt: skip
        made = propose_breakage(terms=terms, proposal=proposal, by=by, at=at)
        return made, f"Proposed {made}; it waits for approval"


@admin.register(VariableEstimate)
class VariableEstimateAdmin(_VersionAdmin):
    """How much of what was billed will be kept."""

    list_display = (
        "__str__",
        link("customer"),
        money("billed_minor", "billed"),
        money("refund_minor", "expected back"),
        "method",
        "status",
        "governs_from",
    )
    list_select_related = ("policy_change", "customer")
    fields = (
        ("code", "number"),
        link("customer"),
        (money("billed_minor", "billed"), money("refund_minor", "expected back")),
        ("method", "confidence"),
        pairs("outcomes"),
        link("revenue_account", "less revenue on"),
        "evidence",
        ("status", "governs_from", link("policy_change")),
    )


@admin.register(LossEstimate)
class LossEstimateAdmin(_VersionAdmin):
    """Which share of open invoices is expected never to be paid; drafted as a policy change."""

    list_display = ("__str__", "currency", "status", "governs_from", link("policy_change"))
    search_fields = ("currency", "policy_change__subject")
    fields = (
        ("currency", "number"),
        pairs("rates"),
        "evidence",
        ("status", "governs_from", link("policy_change")),
    )
