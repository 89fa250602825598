"""Contracts that changed: how the books treat it is proposed here, approved by finance."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanWidget,
)

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.backoffice.actions import list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge_html, link
from billing_project.kernel.backoffice.forms import ActionForm
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from invoicing.models import InvoiceLine
from revrec.admin.allocations import line_named
from revrec.models import ContractModification, ModifiedLine
from revrec.schedule import start_of
from revrec.selectors.zone import books_zone
from revrec.services.modifications import Answers, propose_modification


def _lines_field(label: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="One a row: number of the invoice, stroke, position of the line. INV-000001/1",
    )


def _answer(label: str) -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, widget=UnfoldBooleanWidget)


class ModificationForm(ActionForm):
    """Which fees were the contract, which were added, and what decides the treatment."""

    before = _lines_field("Lines from before")
    added = _lines_field("Lines that the change adds")
    adds_distinct = _answer("What it adds is distinct")
    at_ssp = _answer("What it adds costs what it would cost alone")
    rest_is_distinct = _answer("What is still to come is distinct from what was served")
    effective_on = forms.DateField(label="Changed on", widget=UnfoldAdminDateWidget)
    evidence = forms.CharField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="Why it is one contract that changed, for an auditor to read.",
    )

    def clean_before(self) -> list[InvoiceLine]:
        """Read the rows."""
        return _lines(self.cleaned_data["before"])

    def clean_added(self) -> list[InvoiceLine]:
        """Read the rows."""
        return _lines(self.cleaned_data["added"])


def _lines(text: str) -> list[InvoiceLine]:
    found = [line_named(row.strip()) for row in text.splitlines() if row.strip()]
    if not found:
        raise ValidationError("Name the lines.")
    return found


class ModifiedLineInline(ReadOnlyInline):
    """The fees of a changed contract."""

    model = ModifiedLine
    fields = (link("invoice_line"), "is_added")
    ordering = ("id",)
    tab = False


@admin.register(ContractModification)
class ContractModificationAdmin(ReadOnlyAdmin):
    """Changes of contracts: prospective, caught up, or a contract of their own."""

    list_display = ("__str__", link("customer"), "treatment", "status", link("policy_change"))
    list_filter = ("treatment", "policy_change__status")
    list_select_related = ("policy_change", "customer")
    search_fields = ("customer__external_id", "policy_change__subject")
    search_help_text = "Customer or the policy change's subject"
    fields: ClassVar[tuple[Any, ...] | None] = (
        (link("customer"), "treatment"),
        ("adds_distinct", "at_ssp", "rest_is_distinct"),
        "evidence",
        ("status", link("policy_change")),
    )
    inlines = (ModifiedLineInline,)

    actions_list = ("propose",)

    @list_action(
        "Propose modification",
        permission="kernel.propose_policychange",
        form=ModificationForm,
        explanation="The answers decide the treatment (IFRS 15.18-21): a contract of its own where"
        " what is added is distinct and costs what it would alone; else prospective where the rest"
        " is distinct; else caught up at once. What the customer owes stays as it is.",
    )
    def propose(self, by: User, form: ModificationForm) -> tuple[ContractModification, str]:
        """Propose how a change of a contract is accounted for."""
        said = form.cleaned_data
        before: list[InvoiceLine] = said["before"]
        customer = before[0].invoice.customer
        proposal = Proposal(
            title=f"Changed contract of {customer.external_id}",
            product_requirement=said["evidence"],
            engineering_note="Treated as the answers say (IFRS 15.18-21).",
            reason_code="modification",
            effective_at=start_of(said["effective_on"], books_zone()),
        )
        made = propose_modification(
            customer=customer, before=before, added=said["added"],
            answers=Answers(said["adds_distinct"], said["at_ssp"], said["rest_is_distinct"]),
            evidence=said["evidence"], proposal=proposal, by=by, at=now(),
        )  # fmt: skip
        treated = made.get_treatment_display()
        return made, f"Proposed {made} ({treated}); it waits for approval"

    @admin.display(description="Status")
    def status(self, change: ContractModification) -> str:
        """Show the decision on it."""
        state = change.policy_change.status
        return badge_html(state, POLICY_TONES[state])
