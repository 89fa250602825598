"""Forms of anomalies and incidents: what it was, who looks after it, what was planned and done."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from billing_project.kernel.backoffice.forms import ReasonForm
from credits.admin.alert_forms import people
from credits.admin.rate_fields import CustomerField
from credits.models import Feedback


def _moment(label: str) -> forms.SplitDateTimeField:
    return forms.SplitDateTimeField(label=label, widget=UnfoldAdminSplitDateTimeWidget)


def _owner(label: str = "Looks after it", **said: Any) -> Any:
    return forms.ModelChoiceField(people(), label=label, widget=UnfoldAdminSelectWidget, **said)


class FeedbackForm(ReasonForm):
    """What an anomaly turned out to be."""

    feedback = forms.ChoiceField(
        label="It is",
        choices=[(one.value, one.label) for one in Feedback if one.value],
        widget=UnfoldAdminSelectWidget,
    )


class OwnerForm(ReasonForm):
    """Who looks after it from now on."""

    owner = _owner()


class PlanForm(ReasonForm):
    """Use that will look odd."""

    customer = CustomerField(label="Customer's external id")
    start_at = _moment("From (UTC)")
    end_at = _moment("Until (UTC)")


class IncidentForm(ReasonForm):
    """An incident of an anomaly: its customer and hours are those of the anomaly."""

    title = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)
    owner = _owner()


class NewIncidentForm(IncidentForm):
    """An incident by hand."""

    customer = CustomerField(label="Customer's external id", required=False)
    start_at = _moment("From (UTC)")
    end_at = _moment("Until (UTC)")


class ActionTakenForm(ReasonForm):
    """What was done about an incident."""

    is_contained = forms.BooleanField(
        label="It goes on no more", required=False, widget=UnfoldBooleanWidget
    )
    owner = _owner("Hand over to", required=False, empty_label="nobody: it stays")
