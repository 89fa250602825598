"""Contracts over several invoice lines: proposed here, approved by finance."""

from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.backoffice.actions import list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge_html, link, number
from billing_project.kernel.backoffice.forms import ActionForm
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from billing_project.kernel.quantity import NotAQuantity, typed_number
from invoicing.models import InvoiceLine
from revrec.models import AllocatedShare, ContractAllocation
from revrec.services.allocations import Alone, propose_allocation


class ContractForm(ActionForm):
    """Which lines are one contract, and what each would cost alone."""

    shares = forms.CharField(
        label="Lines",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 5}),
        help_text="One a row: number of the invoice, stroke, position of the line, space, what it"
        " would cost alone in major units, net. INV-000001/1 120.00",
    )
    evidence = forms.CharField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="Why they are one contract, and what the prices rest on, for an auditor to read.",
    )

    def clean_shares(self) -> list[Alone]:
        """Read the rows."""
        rows = [row.split() for row in str(self.cleaned_data["shares"]).splitlines() if row.strip()]
        parts = [_part(row) for row in rows]
        if not parts:
            raise ValidationError("Name the lines.")
        return parts


def _part(row: list[str]) -> Alone:
    words = " ".join(row)[:60]
    if len(row) != 2:
        raise ValidationError(f"{words}: a row is a line and a price.")
    line = line_named(row[0])
    try:
        ssp: Decimal = typed_number(row[1])
    except NotAQuantity as error:
        raise ValidationError(f"{words}: the price is no number.") from error
    return Alone(line, ssp)


def line_named(words: str) -> InvoiceLine:
    """Find a line by its invoice's number and its position: INV-000001/1."""
    invoice, _, position = words.rpartition("/")
    is_number = position.isascii() and position.isdecimal() and len(position) < 6
    found = InvoiceLine.objects.filter(
        invoice__number=invoice, position=int(position) if is_number else 0
    )
    line = found.select_related("invoice__customer").first()
    if line is None:
        raise ValidationError(f"{words[:60]}: there is no such line.")
    return line


class AllocatedShareInline(ReadOnlyInline):
    """The lines of a contract."""

    model = AllocatedShare
    fields = (link("invoice_line"), number("ssp"), "allocated_minor")
    ordering = ("id",)
    tab = False


@admin.register(ContractAllocation)
class ContractAllocationAdmin(ReadOnlyAdmin):
    """What was sold together: promises share the price by what each would cost alone."""

    list_display = ("__str__", link("customer"), "currency", "status", link("policy_change"))
    list_filter = ("currency", "policy_change__status")
    list_select_related = ("policy_change", "customer")
    search_fields = ("customer__external_id", "policy_change__subject")
    search_help_text = "Customer or the policy change's subject"
    fields: ClassVar[tuple[Any, ...] | None] = (
        (link("customer"), "currency"),
        "evidence",
        ("status", link("policy_change")),
    )
    inlines = (AllocatedShareInline,)

    actions_list = ("propose",)

    @list_action(
        "Propose contract",
        permission="kernel.propose_policychange",
        form=ContractForm,
        explanation="Lines that were sold together share their whole price by what each would cost"
        " alone. Finance approves it; what was earned until then is caught up. What the customer"
        " owes stays as it is.",
    )
    def propose(self, by: User, form: ContractForm) -> tuple[ContractAllocation, str]:
        """Propose that lines are one contract."""
        said = form.cleaned_data
        parts: list[Alone] = said["shares"]
        at, customer = now(), parts[0].line.invoice.customer
        proposal = Proposal(
            title=f"Contract of {customer.external_id}",
            product_requirement=said["evidence"],
            engineering_note="Allocated by stand-alone selling prices (IFRS 15.76).",
            reason_code="allocation",
            effective_at=at,
        )
        made = propose_allocation(
            customer=customer, parts=parts, evidence=said["evidence"], proposal=proposal, by=by,
            at=at,
        )  # fmt: skip
        return made, f"Proposed {made}; it waits for approval"

    @admin.display(description="Status")
    def status(self, contract: ContractAllocation) -> str:
        """Show the decision on it."""
        return badge_html(
            contract.policy_change.status, POLICY_TONES[contract.policy_change.status]
        )
