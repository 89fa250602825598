"""Limits, rules of the request path, decisions and holds: what stops an overspend."""

from django.contrib import admin
from django.db.models import Model
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import LargeTableAdmin
from billing_project.kernel.backoffice.display import badge, link, moment, number, pairs
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from credits.admin.control_forms import ControlsForm, ExceptionForm, LimitForm
from credits.admin.rates import PROPOSE, VersionAdmin
from credits.models import (
    Authorization,
    ControlPolicy,
    Hold,
    ModelException,
    SpendLimit,
)

_STATES = {"open": "wait", "settled": "good", "released": "", "lapsed": ""}
_SEEN_FIRST = (
    "Send the form to see its effect (what it would have stopped or let in since the last month"
    " began) and what differs from the version approved last; confirm it, and it goes to finance"
    " for approval."
)
_MODES = {"hard": "bad", "soft": "info"}


@admin.register(SpendLimit)
class SpendLimitAdmin(VersionAdmin):
    """Ceilings of spending: soft ones warn at 50, 80, 90 and 100 %, hard ones refuse."""

    list_display = (
        "__str__",
        link("customer"),
        "window",
        badge("mode", _MODES),
        number("credits", unit="pricing_unit.code"),
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = (
        ("customer", AutocompleteSelectFilter), "mode", "window", "policy_change__status",
    )  # fmt: skip
    list_select_related = ("customer", "workspace", "pricing_unit", "policy_change")
    search_fields = ("code", "customer__external_id", "customer__name", "model", "job")
    search_help_text = "Limit, customer, model or job"
    actions_list = ("new_limit",)
    actions_detail = ("next_limit",)
    fields = (
        "code",
        "number",
        link("customer"),
        link("workspace"),
        "model",
        "job",
        link("api_key", "API key"),
        "window",
        badge("mode", _MODES),
        number("credits", "ceiling", unit="pricing_unit.code"),
        ("status", "governs_from"),
        link("policy_change"),
    )

    @list_action(
        "Propose spend limit",
        permission=PROPOSE,
        form=LimitForm,
        explanation=f"A ceiling of what a customer spends in a time. {_SEEN_FIRST}",
    )
    def new_limit(self, by: User, form: LimitForm) -> tuple[Model, str]:
        """Propose a new limit, or the next version of a known one."""
        return form.proposed(SpendLimit, by=by, at=now())

    @form_action(
        "Propose next version",
        permission=PROPOSE,
        form=LimitForm,
        icon="edit_note",
        explanation=f"The version that is approved last governs from its day. {_SEEN_FIRST}",
    )
    def next_limit(self, by: User, limit: SpendLimit, form: LimitForm) -> str:
        """Propose the version that follows."""
        return form.told(form.finish(by=by, at=now()))


@admin.register(ControlPolicy)
class ControlPolicyAdmin(VersionAdmin):
    """Overdraft, retries and premium models: what the request path refuses."""

    list_display = (
        "__str__",
        link("customer"),
        "overdraft",
        number("overdraft_credits", "overdraft up to"),
        "retry_max",
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_select_related = ("customer", "policy_change")
    search_fields = ("code", "customer__external_id")
    search_help_text = "Customer"
    actions_list = ("new_controls",)
    actions_detail = ("next_controls",)
    fields = (
        "code",
        "number",
        link("customer"),
        "overdraft",
        number("overdraft_credits", "overdraft up to"),
        "retry_max",
        "retry_seconds",
        pairs("premium_models", "premium models"),
        pairs("instead", "cheaper model"),
        pairs("premium_workspaces", "workspaces that may"),
        pairs("premium_jobs", "jobs that may"),
        number("premium_ceiling", "anyone may for up to"),
        ("status", "governs_from"),
        link("policy_change"),
    )

    @list_action(
        "Propose rules",
        permission=PROPOSE,
        form=ControlsForm,
        explanation=f"What is refused before it costs anything. {_SEEN_FIRST}",
    )
    def new_controls(self, by: User, form: ControlsForm) -> tuple[Model, str]:
        """Propose the rules of one customer, or of all who have none."""
        return form.proposed(ControlPolicy, by=by, at=now())

    @form_action(
        "Propose next version",
        permission=PROPOSE,
        form=ControlsForm,
        icon="edit_note",
        explanation=f"The version that is approved last governs from its day. {_SEEN_FIRST}",
    )
    def next_controls(self, by: User, policy: ControlPolicy, form: ControlsForm) -> str:
        """Propose the version that follows."""
        return form.told(form.finish(by=by, at=now()))


@admin.register(ModelException)
class ModelExceptionAdmin(VersionAdmin):
    """Leave to use a premium model until a date."""

    list_display = (
        "model",
        link("customer"),
        link("workspace"),
        "job",
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_select_related = ("customer", "workspace", "policy_change")
    search_fields = ("model", "customer__external_id", "job")
    search_help_text = "Model, customer or job"
    actions_list = ("new_exception",)
    fields = (
        "model",
        link("customer"),
        link("workspace"),
        "job",
        ("status", "governs_from"),
        link("policy_change"),
    )

    @list_action(
        "Ask for an exception",
        permission=PROPOSE,
        form=ExceptionForm,
        explanation=f"Leave to use a premium model until a date. {_SEEN_FIRST}",
    )
    def new_exception(self, by: User, form: ExceptionForm) -> tuple[Model, str]:
        """Ask for leave; it holds once somebody else approved it."""
        return form.proposed(ModelException, by=by, at=now())


@admin.register(Authorization)
class AuthorizationAdmin(LargeTableAdmin):
    """Every decision on work that wanted to begin: what it asked for, and why it may not."""

    list_display = (
        moment("decided_at", "decided"),
        link("customer"),
        "model",
        "job",
        number("credits", unit="pricing_unit.code"),
        "is_allowed",
        "reason",
    )
    list_filter = (("customer", AutocompleteSelectFilter), "is_allowed", "reason")
    list_select_related = ("customer", "pricing_unit")
    search_fields = ("job", "request", "model")
    search_help_text = "Job, request or model"
    fields = (
        moment("decided_at", "decided"),
        link("customer"),
        link("workspace"),
        link("api_key", "API key"),
        "model",
        "job",
        "request",
        pairs("estimate"),
        number("credits", unit="pricing_unit.code"),
        "is_allowed",
        "reason",
        "detail",
        "limits",
        link("control_policy", "rules"),
        link("exception"),
    )


@admin.register(Hold)
class HoldAdmin(LargeTableAdmin):
    """Credits reserved for work that goes on, until they are settled, released or lapse."""

    list_display = (
        "key",
        link("customer"),
        "model",
        "job",
        number("credits", unit="pricing_unit.code"),
        badge("state", _STATES),
        moment("expires_at"),
        "identifier",
    )
    list_filter = (("customer", AutocompleteSelectFilter), "state")
    list_select_related = ("customer", "pricing_unit")
    search_fields = ("key", "identifier", "job")
    search_help_text = "Hold, event identifier or job"
    fields = (
        "key",
        link("authorization"),
        link("customer"),
        link("workspace"),
        "model",
        "job",
        number("credits", unit="pricing_unit.code"),
        pairs("parts", "by meter"),
        badge("state", _STATES),
        moment("made_at", "made"),
        moment("expires_at", "expires"),
        "identifier",
        moment("ended_at", "ended"),
        moment("counted_at", "in the balance since"),
    )
