"""Pages of the ground: policy changes to decide, keys, people, and what was done."""

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from billing_project.kernel import approvals, keys
from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge, document, link, moment, pairs
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.backoffice.policies import DecisionForm, difference_html, why_not
from billing_project.kernel.clock import now
from billing_project.kernel.models import (
    ApiKey,
    AuditEntry,
    IdempotencyRecord,
    OutboxMessage,
    PolicyChange,
    PolicyStatus,
    User,
)

admin.site.disable_action("delete_selected")
admin.site.unregister(Group)

_POLICY_TONES = {"proposed": "wait", "approved": "good", "rejected": "bad", "withdrawn": ""}
_APPROVE = "kernel.approve_policychange"


def _is_proposed(change: PolicyChange) -> bool:
    return change.status == PolicyStatus.PROPOSED


@admin.register(PolicyChange)
class PolicyChangeAdmin(ReadOnlyAdmin):
    """Proposed versions of rules, to be approved or rejected by somebody else."""

    list_display = (
        "title",
        "kind",
        "subject",
        badge("status", _POLICY_TONES),
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
                    ("title", badge("status", _POLICY_TONES)),
                    ("subject", "effective_at"),
                    "next_step",
                )
            },
        ),
        ("Why", {"fields": ("product_requirement", "engineering_note", "reason_code")}),
        ("What changes", {"fields": ("difference",)}),
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
    actions_detail = ("approve", "reject")

    @admin.display(description="Difference")
    def difference(self, change: PolicyChange) -> str:
        """Show the content beside the version that governs."""
        return difference_html(change)

    @admin.display(description="Next step")
    def next_step(self, change: PolicyChange) -> str:
        """Say who has to do what, four eyes included."""
        if _is_proposed(change):
            return f"A finance approver decides; {change.proposed_by} proposed it and cannot."
        return "Nothing: it is decided."

    @form_action(
        "Approve",
        permission=_APPROVE,
        form=DecisionForm,
        icon="check",
        offered=_is_proposed,
        refusal=why_not,
        explanation="From its effective date on, this version governs. It cannot be edited; a"
        " later version replaces it.",
    )
    def approve(self, by: User, change: PolicyChange, form: DecisionForm) -> str:
        """Let the version govern."""
        reason = form.cleaned_data["reason"]
        approvals.approve(change=change, by=by, reason=reason, at=now())
        return f"Approved: {change.title}."

    @form_action(
        "Reject",
        permission=_APPROVE,
        form=DecisionForm,
        icon="block",
        offered=_is_proposed,
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


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys of the apps that send usage; secrets are not stored."""

    list_display = (
        "name",
        "public_id",
        pairs("scopes"),
        link("user", "acts as"),
        moment("created_at"),
        moment("revoked_at"),
    )
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user",)
    search_fields = ("name", "public_id")
    search_help_text = "Name or public part (abk_…)"
    fields = ("name", "public_id", pairs("scopes"), link("user"), "created_at", "revoked_at")
    actions_detail = ("revoke",)

    @form_action(
        "Revoke",
        permission="kernel.manage_apikey",
        form=ReasonForm,
        icon="key_off",
        offered=lambda key: key.revoked_at is None,
        is_final=True,
        takes_away=True,
        explanation="Requests with this key are refused from now on. Make a new key with"
        " manage.py create_api_key.",
    )
    def revoke(self, by: User, key: ApiKey, form: ReasonForm) -> str:
        """End the key at once."""
        keys.revoke_api_key(key=key, by=by, reason=form.cleaned_data["reason"], at=now())
        return f"Revoked {key}."


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Who did what, to what, when and why."""

    list_display = (moment("at"), link("by"), "action", "subject", "reason")
    list_filter = ("action",)
    list_select_related = ("by",)
    search_fields = ("subject", "action", "by__username")
    search_help_text = "Subject (invoice:42), action or person"
    date_hierarchy = "at"
    fields = (moment("at"), link("by"), "action", "subject", "reason", document("facts"))


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(LargeTableAdmin):
    """Answers that were given once, and are given again to the same key."""

    list_display = ("key", link("api_key"), "route", "response_status", moment("created_at"))
    list_filter = ("response_status",)
    list_select_related = ("api_key",)
    search_fields = ("key",)
    search_help_text = "Key, exactly"
    fields = (
        "key",
        link("api_key"),
        "route",
        "request_sha256",
        "response_status",
        document("response_body"),
        "created_at",
    )


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnlyAdmin):
    """Notes of what the next step of the chain has yet to take up; empty when all is done."""

    list_display = ("topic", "object_id", moment("created_at"))
    list_filter = ("topic",)
    ordering = ("id",)
    fields = ("topic", "object_id", "parts", "created_at")


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    """People and services; roles are groups, made by manage.py setup_roles."""

    list_display = ("username", "roles", "is_service", "is_active", "is_superuser", "last_login")
    list_filter = ("groups", "is_service", "is_active", "is_superuser")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    fields = (
        "username",
        "first_name",
        "last_name",
        "email",
        "roles",
        "is_service",
        "is_active",
        "is_superuser",
        "last_login",
        "date_joined",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Read everybody's roles in one query."""
        return super().get_queryset(request).prefetch_related("groups")

    def roles(self, user: User) -> str:
        """Name the person's groups."""
        return ", ".join(sorted(group.name for group in user.groups.all())) or "-"


@admin.register(Group)
class RoleAdmin(ReadOnlyAdmin):
    """Roles, and what each may do besides reading."""

    list_display = ("name", "writes")
    fields = ("name", "writes")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        """Read every role's permissions in one query."""
        return super().get_queryset(request).prefetch_related("permissions")

    def writes(self, role: Group) -> str:
        """Name the actions that the role may do."""
        names = (p.name for p in role.permissions.all() if not p.codename.startswith("view_"))
        return "; ".join(sorted(names)) or "reads only"
