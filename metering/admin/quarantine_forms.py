"""Forms of the quarantine workbench: whom to ask, what to make, what to decide."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.display import moment_html, sentence_text
from billing_project.kernel.backoffice.forms import ActionForm, ReasonField, ReasonForm
from billing_project.kernel.models import User
from metering.admin.fields import customer_field
from metering.models import (
    Aggregation,
    QuarantinedEvent,
    QuarantineGroup,
    QuarantineRole,
)
from metering.models.event import QuarantineState
from metering.selectors.quarantine import Difference, conflict_of


class CustomerForm(ReasonForm):
    """Whose usage came under an unknown id."""

    customer = customer_field(help_text="The id under which we bill this customer, exactly.")
    field_order = ("customer", "reason")


class MapForm(CustomerForm):
    """The same, asked of one event."""

    subject: QuarantinedEvent

    def facts(self) -> list[tuple[str, Any]]:
        """List the id, and how much waits under it."""
        external_id = self.subject.customer_external_id
        waiting = QuarantinedEvent.objects.filter(
            customer_external_id=external_id, state=QuarantineState.OPEN
        )
        return [("Came under", external_id), ("Waiting events", f"{waiting.count():,}")]


class ReplayForm(ActionForm):
    """What to send through the door again."""

    subject: QuarantinedEvent
    scope = forms.ChoiceField(
        label="Replay",
        choices=(
            ("one", "this event"),
            ("customer", "every open event that came under this customer's id"),
            ("reason", "every open event that waits for this reason"),
        ),
        initial="one",
        widget=UnfoldAdminRadioSelectWidget,
    )

    def facts(self) -> list[tuple[str, Any]]:
        """List why the event waits."""
        event = self.subject
        return [
            ("Event", event.identifier),
            ("Came under", event.customer_external_id),
            ("Waits for", sentence_text(event.reason)),
        ]

    def selection(self) -> dict[str, Any]:
        """Return what the service is to replay."""
        event = self.subject
        choices: dict[str, dict[str, Any]] = {
            "one": {"ids": [event.pk]},
            "customer": {"customer_external_id": event.customer_external_id},
            "reason": {"reason": event.reason},
        }
        return choices[self.cleaned_data["scope"]]


class SelectionForm(ReasonForm):
    """Why what is selected in a list is dismissed; carries the selection on."""

    before_template = "backoffice/selection.html"
    ids: Sequence[int] = ()

    def facts(self) -> list[tuple[str, Any]]:
        """List how much is selected and open."""
        return [("Open events selected", f"{len(self.ids):,}")]


class GroupForm(ActionForm):
    """What is done to a whole group."""

    subject: QuarantineGroup

    def facts(self) -> list[tuple[str, Any]]:
        """List what the group waits for, and how much it is."""
        return _group_facts(self.subject)


class GroupReasonForm(ReasonForm):
    """What is done to a whole group, and why."""

    subject: QuarantineGroup

    def facts(self) -> list[tuple[str, Any]]:
        """List what the group waits for, and how much it is."""
        return _group_facts(self.subject)


class GroupMapForm(CustomerForm):
    """Whose usage came under the unknown id of a group."""

    subject: QuarantineGroup

    def facts(self) -> list[tuple[str, Any]]:
        """List the id, and how much waits under it."""
        return _group_facts(self.subject)


class AssignForm(ActionForm):
    """Who answers for a group from now on."""

    subject: QuarantineGroup
    role = forms.ChoiceField(
        label="Role", choices=QuarantineRole.choices, widget=UnfoldAdminSelectWidget
    )
    person = forms.ModelChoiceField(
        label="Person",
        queryset=User.objects.filter(is_active=True, is_service=False),
        to_field_name="username",
        required=False,
        help_text="Login of somebody of this role; leave empty for the whole role.",
        error_messages={"invalid_choice": "Nobody has this login."},
        widget=UnfoldAdminTextInputWidget,
    )
    note = ReasonField(label="Note", required=False)

    def __init__(self, *args: Any, subject: QuarantineGroup, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["role"].initial = subject.role

    def facts(self) -> list[tuple[str, Any]]:
        """List what the group waits for, and who answers for it now."""
        owner = self.subject.person or sentence_text(self.subject.role)
        return [*_group_facts(self.subject), ("Owner so far", owner)]


class MeterForm(ReasonForm):
    """The meter that an unknown event name lacks."""

    subject: QuarantineGroup
    code = forms.CharField(
        max_length=64, help_text="a-z 0-9 _ . -", widget=UnfoldAdminTextInputWidget
    )
    name = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)
    aggregation = forms.ChoiceField(choices=Aggregation.choices, widget=UnfoldAdminSelectWidget)
    value_property = forms.CharField(
        label="Property to read",
        max_length=100,
        required=False,
        help_text="Empty for a count.",
        widget=UnfoldAdminTextInputWidget,
    )
    dimensions = forms.CharField(
        max_length=1000,
        required=False,
        help_text="Properties that split the quantity, with commas between: model, job",
        widget=UnfoldAdminTextInputWidget,
    )
    unit = forms.CharField(
        max_length=40, help_text="token, request, image", widget=UnfoldAdminTextInputWidget
    )
    field_order = ("code", "name", "aggregation", "value_property", "dimensions", "unit", "reason")

    def facts(self) -> list[tuple[str, Any]]:
        """List the event name, and what one of its events says."""
        said = ", ".join(f"{key} {value}" for key, value in self.subject.sample.properties.items())
        return [*_group_facts(self.subject), ("The newest says", said or "nothing")]

    def clean_dimensions(self) -> list[str]:
        """Split the names."""
        return [
            name for part in self.cleaned_data["dimensions"].split(",") if (name := part.strip())
        ]

    def clean(self) -> dict[str, Any]:
        """Refuse a value without a property; the service would say it less kindly."""
        data = super().clean() or {}
        if "aggregation" in data and (data["aggregation"] == Aggregation.COUNT) == bool(
            data.get("value_property")
        ):
            raise ValidationError("A count reads no property; every other meter reads one.")
        return data

    def rule(self) -> dict[str, Any]:
        """Return the meter as its service takes it."""
        names = ("code", "name", "aggregation", "value_property", "dimensions", "unit")
        return {name: self.cleaned_data[name] for name in names}


class ConflictForm(ReasonForm):
    """Which of two reports counts; shows both."""

    subject: QuarantinedEvent
    before_template = "backoffice/conflict.html"

    def differences(self) -> tuple[Difference, ...]:
        """List what the two reports say differently."""
        found = conflict_of(self.subject)
        return found.differences if found else ()

    def facts(self) -> list[tuple[str, Any]]:
        """List which event it is about."""
        event = self.subject
        return [
            ("Event", event.identifier),
            ("Customer", event.customer_external_id),
            ("Reported again", moment_html(event.received_at)),
        ]


def _group_facts(group: QuarantineGroup) -> list[tuple[str, Any]]:
    return [
        ("Waits for", sentence_text(group.reason)),
        ("Missing", group.missing),
        ("Open events", f"{group.event_count:,}"),
        ("Since", moment_html(group.first_seen_at)),
    ]
