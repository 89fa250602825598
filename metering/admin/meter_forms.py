"""Forms of a meter and of its next version: how events shall be read, and what that changes."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils.functional import cached_property
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.difference import Difference, differences
from billing_project.kernel.backoffice.display import moment_html, number_text
from billing_project.kernel.backoffice.forms import PreviewedForm, ReasonForm
from billing_project.kernel.backoffice.numbers import TypedDecimalField, TypedIntegerField
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.period import HOUR, Period, hour_of
from billing_project.kernel.quantity import plain
from billing_project.kernel.users import worker_user
from metering.models import Meter, MeterVersion
from metering.models.meter import Aggregation, RoundingChoice
from metering.rounding import MAX_DECIMALS
from metering.selectors.meters import version_in_force
from metering.selectors.reading_effect import MOST_EVENTS, ReadingEffect
from metering.services.meters import (
    create_meter_version,
    earliest_instant,
    next_instant,
    preview_meter_version,
)
from metering.services.reading import Reading, ReadingInput, checked_reading

_READING = (
    "event_name", "value_property", "constant_value", "filters", "dimensions", "rounding_mode",
    "rounding_decimals",
)  # fmt: skip
_FILTERS = '[{"property": "tier", "operator": "in", "value": ["paid", "trial"]}]'


class DeactivationForm(ReasonForm):
    """From which hour on a meter shall count nothing."""

    effective_at = forms.SplitDateTimeField(
        label="Counts nothing from (UTC)",
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="A whole hour that no event can have reached yet.",
    )
    field_order = ("effective_at", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["effective_at"].initial = next_instant(now())


class ReactivationForm(ReasonForm):
    """From which hour on a meter shall count again, or that it shall be as if it had always."""

    effective_at = forms.SplitDateTimeField(
        label="Counts again from (UTC)",
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="A whole hour to come. Empty: as if it had never been deactivated; replay then"
        " what waits in quarantine.",
    )
    field_order = ("effective_at", "reason")


class ReadingForm(ReasonForm):
    """How a meter reads events: which ones, what they count, what splits the quantity."""

    event_name = forms.CharField(
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text="The events that are read, as senders name them.",
    )
    value_property = forms.CharField(
        max_length=100,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="The property that an event counts; empty where each event counts the same.",
    )
    constant_value = TypedDecimalField(
        max_digits=36,
        decimal_places=12,
        required=False,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="What each event counts, in place of a property.",
    )
    filters = forms.JSONField(
        required=False,
        initial=list,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text=f"All must pass. Operators: eq, ne, in, exists, absent. Like {_FILTERS}",
    )
    dimensions = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Properties that split the quantity, with commas between: model, job",
    )
    rounding_mode = forms.ChoiceField(
        choices=RoundingChoice.choices, widget=UnfoldAdminSelectWidget
    )
    rounding_decimals = TypedIntegerField(
        min_value=0,
        max_value=MAX_DECIMALS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=f"{MAX_DECIMALS} rounds nothing.",
    )

    def aggregates_by(self) -> str:
        """Return what the meter makes of values; asked once every field is readable."""
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        """Refuse what no event could be read by, beside the field that says it."""
        cleaned: dict[str, Any] = super().clean() or {}
        if self.errors:
            return cleaned
        try:
            checked_reading(self.aggregates_by(), **self.reading())
        except Invalid as error:
            self.add_error(error.field if error.field in self.fields else None, error.message)
        return cleaned

    def reading(self) -> ReadingInput:
        """Return how events shall be read."""
        said = self.cleaned_data
        names = [name.strip() for name in said["dimensions"].split(",")]
        return ReadingInput(
            event_name=said["event_name"],
            value_property=said["value_property"],
            constant_value=said["constant_value"],
            filters=said["filters"] or [],
            dimensions=[name for name in names if name],
            rounding_mode=said["rounding_mode"],
            rounding_decimals=said["rounding_decimals"],
        )


class NewMeterForm(ReadingForm):
    """A meter, and how its first version reads events."""

    code = forms.CharField(
        max_length=64,
        help_text="How rates and the API name it, for ever: a-z 0-9 _ . -",
        widget=UnfoldAdminTextInputWidget,
    )
    name = forms.CharField(
        max_length=200, help_text="What invoices call it.", widget=UnfoldAdminTextInputWidget
    )
    aggregation = forms.ChoiceField(
        choices=Aggregation.choices,
        initial=Aggregation.SUM,
        help_text="What a quantity is made of. A time-weighted sum is a level held over time: its"
        " unit is an hour's, like seat-hour. Never changes.",
        widget=UnfoldAdminSelectWidget,
    )
    unit = forms.CharField(
        max_length=40,
        help_text="What is counted: token, request, GB-hour. Never changes.",
        widget=UnfoldAdminTextInputWidget,
    )
    field_order = ("code", "name", "aggregation", "unit", *_READING, "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["rounding_mode"].initial = RoundingChoice.HALF_EVEN
        self.fields["rounding_decimals"].initial = MAX_DECIMALS

    def aggregates_by(self) -> str:
        """Return what was chosen."""
        return str(self.cleaned_data["aggregation"])

    def fixed(self) -> dict[str, str]:
        """Return what never changes about the meter."""
        return {name: self.cleaned_data[name] for name in ("code", "name", "aggregation", "unit")}


class NewVersionForm(ReadingForm, PreviewedForm):
    """How a meter shall read events from an hour on; the newest version is where it starts."""

    subject: Meter
    effect_refusal = ""  # Why its effect could not be read.
    before_template = "backoffice/new_version.html"
    effective_at = forms.SplitDateTimeField(
        label="Takes effect (UTC)",
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="A whole hour that no event can have reached yet.",
    )
    seen_from = forms.SplitDateTimeField(
        label="Show its effect on usage from (UTC)", widget=UnfoldAdminSplitDateTimeWidget
    )
    seen_until = forms.SplitDateTimeField(
        label="To (UTC)",
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text=f"A whole hour, not included. At most {MOST_EVENTS:,} events are read.",
    )
    field_order = ("effective_at", *_READING, "reason", "seen_from", "seen_until")
    preview_words = (
        "This is a preview: nothing is changed yet. Change what you like and send again, or tick"
        " “This is what I want” at the end to make the version."
    )

    def __init__(self, *args: Any, subject: Meter, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.newest = max(
            (one for one in subject.versions.all() if one.withdrawn_at is None),
            key=lambda version: version.number,
        )
        starts: dict[str, Any] = {**content_of(self.newest), "effective_at": _next_hour()}
        starts["dimensions"] = ", ".join(self.newest.dimensions)
        starts["filters"] = self.newest.filters
        seen = _newest_usage()
        starts.update(seen_from=seen.start, seen_until=seen.end)
        for name, value in starts.items():
            self.fields[name].initial = value

    def aggregates_by(self) -> str:
        """Return what the meter was made with."""
        return self.subject.aggregation

    def attempt(self) -> None:
        """Try the version, and refuse a span that ends before it starts."""
        self.save(by=worker_user(), at=now())
        if self.cleaned_data["seen_until"] <= self.cleaned_data["seen_from"]:
            raise Invalid("This comes after the start.", field="seen_until")

    def save(self, *, by: User, at: datetime) -> MeterVersion:
        """Make the version."""
        said = self.cleaned_data
        return create_meter_version(
            meter=self.subject, effective_at=said["effective_at"], reason=said["reason"], by=by,
            at=at, **self.reading(),
        )  # fmt: skip

    @cached_property
    def effect(self) -> ReadingEffect | None:
        """What the version would have counted; read once the page shows it."""
        if not self.is_tried or self.errors:
            return None
        period = Period(self.cleaned_data["seen_from"], self.cleaned_data["seen_until"])
        try:
            return preview_meter_version(
                meter=self.subject, at=now(), period=period, **self.reading()
            )
        except BillingError as error:
            self.effect_refusal = error.message
            return None

    def facts(self) -> list[tuple[str, Any]]:
        """List what never changes, and what is read now."""
        governing = version_in_force(self.subject.versions.all(), now())
        return [
            ("Meter", self.subject.code),
            ("Aggregation", self.subject.get_aggregation_display()),
            ("Unit", self.subject.unit),
            ("Version in effect", governing.number),
            ("Earliest instant (UTC)", moment_html(earliest_instant(now()))),
        ]

    def effect_rows(self) -> list[tuple[str, str, str, str]]:
        """Write listed customers' quantities, then those of all: before, after, difference."""
        effect = self.effect
        if effect is None:
            return []
        sides = [(one.customer, one.before, one.after, one.difference) for one in effect.customers]
        sides.append(("All customers", effect.before, effect.after, effect.difference))
        return [
            (name, number_text(before.quantity), number_text(after.quantity), number_text(more))
            for name, before, after, more in sides
        ]

    def changes(self) -> list[Difference]:
        """List what the version changes; nothing as long as the form cannot be read."""
        if not self.is_tried or self.errors:
            return []
        after = checked_reading(self.subject.aggregation, **self.reading())
        rows = differences(content_of(self.newest), _plain(after))
        return sorted(rows, key=lambda row: not row.is_changed)


def reading_differences(before: MeterVersion, after: MeterVersion) -> list[Difference]:
    """Compare two versions value by value, what differs first."""
    rows = differences(content_of(before), content_of(after))
    return sorted(rows, key=lambda row: not row.is_changed)


def content_of(version: MeterVersion) -> dict[str, Any]:
    """Return how a version reads events, as plain JSON."""
    return _plain({name: getattr(version, name) for name in Reading.__annotations__})


def _plain(reading: Any) -> dict[str, Any]:
    constant = reading["constant_value"]
    return {**reading, "constant_value": None if constant is None else plain(constant)}


def _next_hour() -> datetime:
    """Propose the first hour of tomorrow's work: time enough to think again."""
    return hour_of(earliest_instant(now())) + HOUR + timedelta(days=1)


def _newest_usage() -> Period:
    """Propose the last thirty days: as near to what is to come as usage gets."""
    end = hour_of(now())
    return Period(end - timedelta(days=30), end)
