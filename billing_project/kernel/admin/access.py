"""Who answers for what, who may do what, and what was done: owners, keys, people, the audit log."""

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from billing_project.kernel import keys
from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin
from billing_project.kernel.backoffice.display import document, link, moment, pairs
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.clock import now
from billing_project.kernel.models import (
    ApiKey,
    AuditEntry,
    IdempotencyRecord,
    OutboxMessage,
    StepOwner,
    User,
)
from billing_project.kernel.signins.attempts import let_in_again
from billing_project.kernel.signins.devices import sign_out_everywhere
from billing_project.kernel.signins.factors import factor_of, reset_factor

_MANAGE = "kernel.manage_signin"


def _is_person(user: User) -> bool:
    return not user.is_service


admin.site.disable_action("delete_selected")
admin.site.unregister(Group)


@admin.register(StepOwner)
class StepOwnerAdmin(ReadOnlyAdmin):
    """Everybody who was named to answer for a step; the newest of each governs."""

    list_display = (
        "step",
        "function",
        link("person"),
        moment("since_at"),
        link("named_by"),
        moment("named_at"),
    )
    list_filter = ("step", "function")
    list_select_related = ("person", "named_by")
    search_fields = ("person__username",)
    search_help_text = "Person"
    fields = (
        ("step", "function"),
        (link("person"), "since_at"),
        "reason",
        (link("named_by"), "named_at"),
    )


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
    actions_detail = ("let_in", "sign_out", "reset_factor")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Read everybody's roles in one query."""
        return super().get_queryset(request).prefetch_related("groups")

    def roles(self, user: User) -> str:
        """Name the person's groups."""
        return ", ".join(sorted(group.name for group in user.groups.all())) or "-"

    @form_action(
        "Let in again",
        permission=_MANAGE,
        form=ReasonForm,
        icon="lock_open",
        offered=_is_person,
        explanation="Tries of before count no more, so that this person need not wait. Make sure"
        " first that it is really they who ask.",
    )
    def let_in(self, by: User, user: User, form: ReasonForm) -> str:
        """End a wait after too many tries."""
        let_in_again(user=user, by=by, reason=form.cleaned_data["reason"], at=timezone.now())
        return f"{user} may try again."

    @form_action(
        "Reset second factor",
        permission=_MANAGE,
        form=ReasonForm,
        icon="phonelink_erase",
        offered=lambda user: factor_of(user) is not None,
        takes_away=True,
        explanation="For a lost phone without recovery codes. The person is signed out everywhere;"
        " whoever signs in next with their password sets up the next one, so make sure who asks.",
    )
    def reset_factor(self, by: User, user: User, form: ReasonForm) -> str:
        """Take a lost second factor away."""
        reset_factor(user=user, by=by, reason=form.cleaned_data["reason"], at=timezone.now())
        return f"{user} sets up a second factor at the next log-in."

    @form_action(
        "Sign out everywhere",
        permission=_MANAGE,
        form=ReasonForm,
        icon="logout",
        offered=_is_person,
        takes_away=True,
        explanation="This person is signed out on every device, at once. They can sign in again.",
    )
    def sign_out(self, by: User, user: User, form: ReasonForm) -> str:
        """End every session of somebody."""
        reason = form.cleaned_data["reason"]
        count = sign_out_everywhere(user=user, by=by, reason=reason, at=timezone.now())
        return f"{user} is signed out on {count} device{'s' * (count != 1)}."


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
