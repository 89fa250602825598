"""Alerts, and the rules that raise them."""

from django.contrib import admin
from django.db.models import Model
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import link, moment, number, pairs
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from credits.admin.alert_forms import AcknowledgeForm, AlertRuleForm
from credits.admin.rates import PROPOSE, VersionAdmin
from credits.models import Alert, AlertRule
from credits.services.controls import acknowledge_alert


@admin.register(AlertRule)
class AlertRuleAdmin(VersionAdmin):
    """What raises alerts: of balances, spending, usage, forecasts, and of what waits."""

    list_display = (
        "__str__",
        "watched",
        link("customer"),
        "window",
        number("threshold"),
        link("owner"),
        "status",
        link("policy_change"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "watched", "policy_change__status")
    list_select_related = ("customer", "pricing_unit", "meter", "owner", "policy_change")
    search_fields = ("code", "customer__external_id", "owner__username")
    search_help_text = "Rule, customer or owner"
    actions_list = ("new_rule",)
    actions_detail = ("next_rule",)
    fields = (
        "code",
        "number",
        "watched",
        link("customer"),
        "is_by_customer",
        link("pricing_unit", "kind of credits"),
        link("meter"),
        "window",
        number("threshold"),
        "floor",
        link("owner", "looks after it"),
        ("status", "governs_from"),
        link("policy_change"),
    )

    @list_action(
        "Propose alert rule",
        permission=PROPOSE,
        form=AlertRuleForm,
        explanation="What it finds is raised once for each crossing, mailed to who looks after it,"
        " and told by webhook. Send the form to see it, then confirm it.",
    )
    def new_rule(self, by: User, form: AlertRuleForm) -> tuple[Model, str]:
        """Propose a new rule, or the next version of a known one."""
        return form.proposed(AlertRule, by=by, at=now())

    @form_action(
        "Propose next version",
        permission=PROPOSE,
        form=AlertRuleForm,
        icon="edit_note",
        explanation="The version that is approved last governs from its day.",
    )
    def next_rule(self, by: User, rule: AlertRule, form: AlertRuleForm) -> str:
        """Propose the version that follows."""
        return form.told(form.finish(by=by, at=now()))


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What somebody has to look at, once for each cause, until a person says what is done."""

    list_display = (
        "title",
        link("customer"),
        "kind",
        link("owner"),
        moment("raised_at", "raised"),
        moment("ended_at", "over"),
        link("acknowledged_by", "acknowledged by"),
    )
    list_filter = (
        ("customer", AutocompleteSelectFilter),
        "kind",
        ("acknowledged_at", admin.EmptyFieldListFilter),
        ("ended_at", admin.EmptyFieldListFilter),
    )
    list_select_related = ("customer", "rule", "owner", "acknowledged_by")
    search_fields = ("title", "customer__external_id")
    search_help_text = "Alert or customer"
    fields = (
        "title",
        link("customer"),
        "kind",
        pairs("facts"),
        link("rule"),
        link("owner", "looks after it"),
        moment("raised_at", "raised"),
        moment("told_at", "mailed"),
        moment("ended_at", "over"),
        link("acknowledged_by", "acknowledged by"),
        moment("acknowledged_at", "acknowledged"),
        "note",
    )
    actions_detail = ("acknowledge",)

    @form_action(
        "Acknowledge",
        permission="credits.acknowledge_alert",
        form=AcknowledgeForm,
        icon="visibility",
        offered=lambda alert: alert.acknowledged_at is None,
        explanation="Say that you look after it and what is being done.",
    )
    def acknowledge(self, by: User, alert: Alert, form: AcknowledgeForm) -> str:
        """Put a name to it."""
        said = form.cleaned_data
        acknowledge_alert(alert=alert, note=said["reason"], owner=said["owner"], by=by, at=now())
        return "Acknowledged."


offer_list(AlertRule, Alert, lambda rule: {"rule__id__exact": rule.pk}, icon="warning")
