"""Policy changes: drafted and submitted by one person, decided by another."""

from django.contrib import admin
from django.template.loader import render_to_string

from billing_project.kernel import approvals, drafts
from billing_project.kernel.approvals import waiting_for
from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge, document, link, moment
from billing_project.kernel.backoffice.drafting import (
    DraftForm,
    NewDraftForm,
    NextDraftForm,
    SubmitForm,
)
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.backoffice.policies import (
    POLICY_TONES,
    DecisionForm,
    approvals_text,
    difference_html,
    effect_html,
    governs_text,
    why_not,
    why_not_approve,
)
from billing_project.kernel.clock import now
from billing_project.kernel.models import (
    PolicyApproval,
    PolicyChange,
    PolicyEvidence,
    PolicyStatus,
    User,
)

_APPROVE = ("kernel.approve_policychange", "kernel.approve_policychange_legal")
_PROPOSE = "kernel.propose_policychange"


def _is_submitted(change: PolicyChange) -> bool:
    return change.status == PolicyStatus.SUBMITTED


def _is_open(change: PolicyChange) -> bool:
    return change.status in {PolicyStatus.DRAFT, PolicyStatus.SUBMITTED}


def _is_draft(change: PolicyChange) -> bool:
    return change.status == PolicyStatus.DRAFT


def _not_yours(user: User, change: PolicyChange) -> str:
    return "" if change.proposed_by_id == user.pk else "Only its proposer does that."


class ApprovalInline(ReadOnlyInline):
    """Who approved a change, for which function, and what exactly they signed."""

    model = PolicyApproval
    fields = ("function", link("by"), moment("at"), "reason", "sha256")
    list_select_related = ("by",)
    tab = False


class EvidenceInline(ReadOnlyInline):
    """What was attached for its approvers, and whether the change is still what it was about."""

    model = PolicyEvidence
    fields = ("title", "figures", link("attached_by"), moment("attached_at"), "is_of_this")
    list_select_related = ("attached_by", "change")
    tab = False

    @admin.display(description="Figures")
    def figures(self, row: PolicyEvidence) -> str:
        """Show the table as it was attached."""
        return render_to_string("backoffice/evidence.html", {"document": row.document})

    @admin.display(description="Of this content", boolean=True)
    def is_of_this(self, row: PolicyEvidence) -> bool:
        """Tell whether the change says now what it said then."""
        return row.content_sha256 == row.change.content_sha256


@admin.register(PolicyChange)
class PolicyChangeAdmin(ReadOnlyAdmin):
    """Proposed versions of rules, to be approved or rejected by somebody else."""

    list_display = (
        "title",
        "kind",
        "subject",
        badge("status", POLICY_TONES),
        link("proposed_by"),
        moment("effective_at", "governs from"),
        link("decided_by"),
    )
    list_filter = ("status", "kind")
    list_select_related = ("proposed_by", "decided_by")
    search_fields = ("title", "subject", "reason_code", "content_sha256")
    search_help_text = "Title, subject, reason code or sha256"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("title", badge("status", POLICY_TONES)),
                    ("subject", "term"),
                    ("approvals_needed", link("replaces")),
                    "next_step",
                )
            },
        ),
        ("Why", {"fields": ("product_requirement", "engineering_note", "reason_code")}),
        ("What changes", {"fields": ("difference",)}),
        ("Simulated effect", {"fields": ("simulated_effect",)}),
        (
            "Who",
            {
                "fields": (
                    (link("proposed_by"), "proposed_at"),
                    (link("decided_by"), "decided_at"),
                    "decision_reason",
                )
            },
        ),
        (
            "Evidence",
            {"fields": ("content_sha256", document("content")), "classes": ("collapse",)},
        ),
    )
    inlines = (EvidenceInline, ApprovalInline)
    actions_list = ("new_draft",)
    actions_detail = (
        "approve",
        "reject",
        "edit_change",
        "submit_change",
        "revise_change",
        "withdraw_change",
        "next_draft",
    )

    @admin.display(description="Difference")
    def difference(self, change: PolicyChange) -> str:
        """Show the content beside the version that governs."""
        return difference_html(change)

    @admin.display(description="Next step")
    def next_step(self, change: PolicyChange) -> str:
        """Say who has to do what, four eyes included."""
        if _is_draft(change):
            return f"{change.proposed_by} submits it; until then nobody decides on it."
        if _is_submitted(change):
            wanted = waiting_for(change)
            verb = "approves" if len(wanted) == 1 else "approve"
            names = " and ".join(wanted).capitalize()
            return f"{names} {verb}; {change.proposed_by} proposed it and cannot."
        return "Nothing: it is decided."

    @admin.display(description="Simulated effect")
    def simulated_effect(self, change: PolicyChange) -> str:
        """Show what the change would have done on the last period, as it was submitted."""
        if _is_draft(change):
            return "It is simulated when it is submitted."
        return effect_html(change.effect)

    @admin.display(description="Approvals")
    def approvals_needed(self, change: PolicyChange) -> str:
        """Say which functions approve, and who did."""
        return approvals_text(change)

    @admin.display(description="In force")
    def term(self, change: PolicyChange) -> str:
        """Say from when it governs, and until when if it expires."""
        return governs_text(change)

    @form_action(
        "Approve",
        permission=_APPROVE,
        form=DecisionForm,
        icon="check",
        offered=_is_submitted,
        refusal=why_not_approve,
    )
    def approve(self, by: User, change: PolicyChange, form: DecisionForm) -> str:
        """Approve the version; the last approval that it needs lets it govern."""
        reason = form.cleaned_data["reason"]
        decided = approvals.approve(change=change, by=by, reason=reason, at=now())
        if waiting := waiting_for(decided):
            return f"Approved by you: {change.title}. It waits for {' and '.join(waiting)}."
        return f"Approved: {change.title}."

    @form_action(
        "Reject",
        permission=_APPROVE,
        form=DecisionForm,
        icon="block",
        offered=_is_submitted,
        refusal=why_not,
        is_final=True,
        takes_away=True,
        explanation="A rejected version never governs; a better one is a new proposal.",
    )
    def reject(self, by: User, change: PolicyChange, form: DecisionForm) -> str:
        """Refuse the version for good."""
        reason = form.cleaned_data["reason"]
        approvals.reject(change=change, by=by, reason=reason, at=now())
        return f"Rejected: {change.title}."

    @form_action(
        "Edit",
        permission=_PROPOSE,
        form=DraftForm,
        icon="edit",
        offered=_is_draft,
        refusal=_not_yours,
        explanation="Only its author edits a draft. Submit it to hand it to its approvers.",
    )
    def edit_change(self, by: User, change: PolicyChange, form: DraftForm) -> str:
        """Change a draft's words and content."""
        kept = form.save(by=by, at=now())
        return f"Kept: {kept.title}."

    @form_action(
        "Submit",
        permission=_PROPOSE,
        form=SubmitForm,
        icon="send",
        offered=_is_draft,
        refusal=_not_yours,
        explanation="Its version is made and its effect simulated. From then on it cannot be"
        " edited; revise it to change it.",
    )
    def submit_change(self, by: User, change: PolicyChange, form: SubmitForm) -> str:
        """Hand a draft to its approvers."""
        drafts.submit(change=change, by=by, at=now())
        return f"Submitted: {change.title}."

    @form_action(
        "Revise",
        permission=_PROPOSE,
        icon="edit_note",
        offered=lambda change: _is_submitted(change) and change.kind in drafts.draftable(),
        refusal=_not_yours,
        is_final=True,
        explanation="This change is withdrawn with every approval it has; a draft of the same"
        " content takes its place.",
    )
    def revise_change(self, by: User, change: PolicyChange, form: ReasonForm) -> str:
        """Replace what was submitted by a draft."""
        reason = form.cleaned_data["reason"]
        made = drafts.revise(change=change, by=by, reason=reason, at=now())
        return f"Withdrawn; draft {made.pk} takes its place."

    @form_action(
        "Withdraw",
        permission=_PROPOSE,
        icon="undo",
        offered=_is_open,
        refusal=_not_yours,
        is_final=True,
        takes_away=True,
        explanation="A withdrawn change never governs.",
    )
    def withdraw_change(self, by: User, change: PolicyChange, form: ReasonForm) -> str:
        """Take back what nobody decided yet."""
        reason = form.cleaned_data["reason"]
        approvals.withdraw(change=change, by=by, reason=reason, at=now())
        return f"Withdrawn: {change.title}."

    @form_action(
        "Draft next version",
        permission=_PROPOSE,
        form=NextDraftForm,
        icon="edit_note",
        offered=lambda change: (
            change.status == PolicyStatus.APPROVED and change.kind in drafts.draftable()
        ),
        explanation="A draft that begins with what this version says. Edit its values; nobody"
        " decides on it until you submit it.",
    )
    def next_draft(self, by: User, change: PolicyChange, form: NextDraftForm) -> str:
        """Keep a draft of the version that follows."""
        return form.told(form.save(by=by, at=now()))

    @list_action(
        "Draft a change",
        permission=_PROPOSE,
        form=NewDraftForm,
        explanation="The first version of a rule, as named values. A rule that has one already"
        " is drafted from there: open the version in force, “Draft next version”.",
    )
    def new_draft(self, by: User, form: NewDraftForm) -> tuple[PolicyChange, str]:
        """Keep a draft of a kind."""
        made = form.save(by=by, at=now())
        return made, form.told(made)
