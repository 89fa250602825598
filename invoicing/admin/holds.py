"""What billing holds: the approval queue, and accounts in doubt; and the limits that say so."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Value
from django.http import HttpRequest

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    badge,
    badge_html,
    link,
    moment,
    moment_html,
    pairs,
)
from billing_project.kernel.backoffice.forms import ReasonField, ReasonForm
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import ChainStep, StepFunction, User
from billing_project.kernel.money import Money
from billing_project.kernel.ownership import owners_known
from invoicing.models import BillingHold, DraftRejection, HoldCause, Invoice, InvoicePolicy
from invoicing.selectors.holds import why_not_release
from invoicing.services.holds import release_hold
from invoicing.services.rejecting import reject_draft
from metering.models import Customer

_CAUSES = {
    "approval": "wait", "market": "wait", "rejected": "wait", "incomplete": "bad", "bounds": "bad",
    "fault": "bad",
}  # fmt: skip


class ReleaseForm(ReasonForm):
    """Why it may go on."""

    subject: BillingHold
    reason = ReasonField(max_length=500)

    def facts(self) -> list[tuple[str, Any]]:
        """List what is held and why."""
        hold = self.subject
        return [
            ("Held", str(hold.invoice or hold.subject)),
            ("Customer", hold.customer.name),
            ("Cause", HoldCause(hold.cause).label),
            ("In words", hold.detail),
            ("Since", moment_html(hold.opened_at)),
        ]


class RejectForm(ReleaseForm):
    """Why it is never issued, and what becomes of its claim."""

    def facts(self) -> list[tuple[str, Any]]:
        """Say what the draft comes to."""
        draft = self.subject.invoice
        assert draft is not None, "only held drafts are offered"
        total = Money(draft.total_minor, draft.currency)
        return [*super().facts(), ("Draft over", str(total))]


def _is_open(hold: BillingHold) -> bool:
    return hold.released_at is None


def _is_draft(hold: BillingHold) -> bool:
    return _is_open(hold) and hold.invoice is not None


class _OpenFilter(admin.SimpleListFilter):
    """Show what waits; what was released on request."""

    title = "released"
    parameter_name = "released"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both."""
        return [("no", "no, waits"), ("yes", "yes")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Filter by the release."""
        if self.value() is None:
            return queryset
        return queryset.filter(released_at__isnull=self.value() == "no")


@admin.register(BillingHold)
class BillingHoldAdmin(ReadOnlyAdmin):
    """Drafts that wait for an approval, and accounts in doubt that runs pass by."""

    list_display = (
        "__str__",
        link("customer"),
        link("invoice"),
        badge("cause", _CAUSES),
        "detail",
        moment("opened_at"),
        "owner",
        moment("released_at"),
    )
    list_filter = (_OpenFilter, "cause")
    list_select_related = ("customer", "invoice", "released_by")
    search_fields = ("subject", "customer__external_id", "detail")
    search_help_text = "Subject, customer or words"
    fields = (
        "subject",
        link("customer"),
        link("invoice"),
        badge("cause", _CAUSES),
        "detail",
        "opened_at",
        "owner",
        "released_at",
        link("released_by"),
        "release_reason",
        "rejected",
    )
    actions_detail = ("release", "reject")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Read once who answers for invoices now."""
        owners = owners_known().of(ChainStep.INVOICE, now())
        named = [one.person for one in owners if one.function == StepFunction.FINANCE]
        owner = str((named[0] if named else None) or "nobody is named")
        return super().get_queryset(request).annotate(answers=Value(owner))

    @admin.display(description="Owner")
    def owner(self, hold: BillingHold) -> str:
        """Name who answers for the step of invoices."""
        return str(hold.answers)  # type: ignore[attr-defined]

    @admin.display(description="Rejected")
    def rejected(self, hold: BillingHold) -> str:
        """Say what the draft came to that was rejected."""
        row = DraftRejection.objects.filter(hold=hold).first()
        return str(Money(row.total_minor, row.currency)) if row else "no"

    @form_action(
        "Release",
        permission="invoicing.release_billinghold",
        form=ReleaseForm,
        icon="play_arrow",
        offered=_is_open,
        refusal=why_not_release,
        is_final=True,
        explanation="The next run goes on with it. An invoice that waits for an approval is let go"
        " by an approver; if its figures change before it is issued, it is held again.",
    )
    def release(self, by: User, hold: BillingHold, form: ReleaseForm) -> str:
        """Let it go."""
        release_hold(hold=hold, reason=form.cleaned_data["reason"], by=by, at=now())
        return f"Released {hold.invoice or hold.subject}."

    @form_action(
        "Reject",
        permission="invoicing.approve_invoice",
        form=RejectForm,
        icon="block",
        offered=_is_draft,
        is_final=True,
        explanation="The draft is emptied and never issued. Fees, seats and packs on it are given"
        " up; credits that came with them stay. Usage waits, held for its period, until that is"
        " released: correct meanwhile what is wrong.",
    )
    def reject(self, by: User, hold: BillingHold, form: RejectForm) -> str:
        """Reject the draft."""
        reject_draft(held=hold, reason=form.cleaned_data["reason"], by=by, at=now())
        return f"Rejected {hold.invoice}."


@admin.register(InvoicePolicy)
class InvoicePolicyAdmin(ReadOnlyAdmin):
    """Versions of what needs an approval before it is issued, and of the bounds of a run."""

    fields: ClassVar[tuple[Any, ...] | None] = (
        "number",
        pairs("approval_above", "approval above, minor units"),
        "approves_first",
        pairs("notes_above", "notes of support above, minor units"),
        "most_lines",
        "most_drafts",
        "invoices_covered",
        "status",
        link("policy_change"),
    )
    list_display = (
        "__str__",
        pairs("approval_above", "approval above"),
        "approves_first",
        pairs("notes_above", "notes above"),
        "most_lines",
        "most_drafts",
        "status",
        link("policy_change"),
    )
    list_select_related = ("policy_change",)
    ordering = ("-number",)

    @admin.display(description="Status")
    def status(self, policy: InvoicePolicy) -> str:
        """Show the decision on the version."""
        return badge_html(policy.policy_change.status, POLICY_TONES[policy.policy_change.status])


offer_list(Customer, BillingHold, lambda c: {"customer__id__exact": c.pk}, icon="pause_circle")
offer_list(Invoice, BillingHold, lambda i: {"invoice__id__exact": i.pk}, icon="pause_circle")
