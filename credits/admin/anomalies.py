"""Anomalies, and what is planned and will look odd."""

from django.contrib import admin
from django.db.models import Model
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge, link, moment, money_text, number
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from credits.admin.anomaly_forms import FeedbackForm, IncidentForm, OwnerForm, PlanForm
from credits.models import Anomaly, Feedback, Incident, PlannedActivity
from credits.services.anomalies import hand_over, plan_activity, say_what_it_was
from credits.services.incidents import Scope, open_incident

MANAGE = "credits.manage_anomaly"
_TONES = {"real": "bad", "expected": "", "false_alarm": "", "": "wait"}


@admin.register(Anomaly)
class AnomalyAdmin(ReadOnlyAdmin):
    """Odd hours of a customer: how odd, why, what they cost, and who looks after them."""

    list_display = (
        link("customer"),
        "pattern",
        "of",
        moment("start_at", "from"),
        number("observed", "credits"),
        "impact",
        link("owner"),
        badge("feedback", _TONES, "it was"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "pattern", "dimension", "feedback")
    list_select_related = ("customer", "owner", "pricing_unit")
    search_fields = ("customer__external_id", "owner__username")
    search_help_text = "Customer or owner"
    fields = (
        link("customer"),
        ("pattern", "of"),
        (moment("start_at", "from"), moment("end_at", "until")),
        (number("observed", "credits of its worst two hours", unit="pricing_unit.code"),
         number("expected", "usual there", unit="pricing_unit.code")),
        ("score", "impact"),
        "caused_by",
        moment("detected_at", "found"),
        link("owner", "looks after it"),
        badge("feedback", _TONES, "it was"),
        "feedback_note",
        (link("feedback_by", "said by"), moment("feedback_at", "said at")),
    )  # fmt: skip
    actions_detail = ("say_what", "hand_over_to", "open_of")

    @admin.display(description="Of")
    def of(self, anomaly: Anomaly) -> str:
        """Name the narrowest series that explains it."""
        return f"{anomaly.dimension} {anomaly.value}".strip()

    @admin.display(description="Impact")
    def impact(self, anomaly: Anomaly) -> str:
        """Write the impact at the price of a credit beyond."""
        if anomaly.impact_minor is None:
            return "-"
        return money_text(anomaly.impact_minor, anomaly.currency)

    @admin.display(description="Caused by")
    def caused_by(self, anomaly: Anomaly) -> str:
        """List what most of it comes from."""
        causes = (f"{c['dimension']} {c['value']}: {c['percent']} %" for c in anomaly.causes)
        return "; ".join(causes) or "-"

    @form_action(
        "Say what it was",
        permission=MANAGE,
        form=FeedbackForm,
        icon="rate_review",
        offered=lambda anomaly: anomaly.feedback == Feedback.NONE,
        explanation="What you say is kept, and counts as resolved in the weekly checkpoint.",
    )
    def say_what(self, by: User, anomaly: Anomaly, form: FeedbackForm) -> str:
        """Keep what it turned out to be."""
        said = form.cleaned_data
        say_what_it_was(
            anomaly=anomaly, feedback=said["feedback"], note=said["reason"], by=by, at=now()
        )
        return "Kept."

    @form_action("Hand over", permission=MANAGE, form=OwnerForm, icon="assignment_ind")
    def hand_over_to(self, by: User, anomaly: Anomaly, form: OwnerForm) -> str:
        """Let somebody else look after it."""
        said = form.cleaned_data
        hand_over(anomaly=anomaly, owner=said["owner"], reason=said["reason"], by=by, at=now())
        return f"Handed over to {said['owner']}."

    @form_action(
        "Open incident",
        permission=MANAGE,
        form=IncidentForm,
        icon="crisis_alert",
        offered=lambda anomaly: not Incident.objects.filter(anomaly=anomaly).exists(),
    )
    def open_of(self, by: User, anomaly: Anomaly, form: IncidentForm) -> str:
        """Open an incident over the anomaly's hours."""
        said = form.cleaned_data
        scope = Scope(anomaly.customer, anomaly.start_at, anomaly.end_at)
        incident = open_incident(
            title=said["title"], scope=scope, owner=said["owner"], key=form.key, by=by, at=now(),
            anomaly=anomaly,
        )  # fmt: skip
        return f"Opened: {incident}."


@admin.register(PlannedActivity)
class PlannedActivityAdmin(ReadOnlyAdmin):
    """Use that will look odd and is meant."""

    list_display = (
        link("customer"),
        moment("start_at", "from"),
        moment("end_at", "until"),
        "reason",
        link("planned_by"),
    )
    list_filter = (("customer", AutocompleteSelectFilter),)
    list_select_related = ("customer", "planned_by")
    search_fields = ("customer__external_id", "reason")
    search_help_text = "Customer or reason"
    fields = (
        link("customer"),
        moment("start_at", "from"),
        moment("end_at", "until"),
        "reason",
        link("planned_by"),
        moment("planned_at"),
    )
    actions_list = ("plan",)

    @list_action(
        "Plan activity",
        permission=MANAGE,
        form=PlanForm,
        explanation="No anomaly is raised of this customer in these hours.",
    )
    def plan(self, by: User, form: PlanForm) -> tuple[Model, str]:
        """Say that use will look odd."""
        said = form.cleaned_data
        row = plan_activity(
            customer=said["customer"], start_at=said["start_at"], end_at=said["end_at"],
            reason=said["reason"], by=by, at=now(),
        )  # fmt: skip
        return row, "Planned."


offer_list(
    Anomaly, Incident, lambda anomaly: {"anomaly__id__exact": anomaly.pk}, icon="crisis_alert"
)
