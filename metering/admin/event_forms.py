"""Forms of corrections of single events: what is taken out, or counts with other properties."""

from typing import Any

import msgspec
from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget

from billing_project.kernel.backoffice.display import moment_html
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.backoffice.numbers import TypedIntegerField
from billing_project.kernel.errors import BillingError
from billing_project.kernel.rest.parsing import parse_json
from metering.aggregation import Properties, text_of
from metering.exact import to_json, write_json
from metering.models import MeterEvent
from metering.selectors.events import effective_properties, newest_adjustment


class CancelEventForm(ReasonForm):
    """Why an event counts no longer."""

    subject: MeterEvent

    def facts(self) -> list[tuple[str, Any]]:
        """List what the event says by now."""
        event = self.subject
        return [
            ("Event", event.identifier),
            ("Customer", event.customer.external_id),
            ("Happened", moment_html(event.timestamp)),
            ("Says", ", ".join(f"{k} {text_of(v)}" for k, v in _said(event).items())),
        ]


class AmendEventForm(CancelEventForm):
    """What an event says from now on, and why."""

    properties = forms.CharField(
        label="Properties",
        max_length=100_000,
        help_text="All of them, as a JSON object; numbers are kept as they are written.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8, "class": "bo-sheet"}),
    )
    based_on = TypedIntegerField(widget=forms.HiddenInput)  # The adjustment that is shown.
    field_order = ("properties", "reason")

    def __init__(self, *args: Any, subject: MeterEvent, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        newest = newest_adjustment(subject)
        self.fields["based_on"].initial = newest.pk if newest else 0
        self.fields["properties"].initial = msgspec.json.format(to_json(_said(subject))).decode()

    def clean_properties(self) -> dict[str, Any]:
        """Read the object; the service judges its values."""
        try:
            said = parse_json(self.cleaned_data["properties"].encode(errors="surrogatepass"))
        except (BillingError, ArithmeticError) as error:
            raise ValidationError(f"This cannot be read: {error}.") from error
        if not isinstance(said, dict):
            raise ValidationError('Properties are an object: {"model": "x", "tokens": "5"}.')
        if _is_same(said, _said(self.subject)):
            raise ValidationError("The event says this already.")
        return said


def _said(event: MeterEvent) -> Properties:
    return effective_properties(event) or {}


def _is_same(one: dict[str, Any], other: Properties) -> bool:
    try:
        return write_json(one) == write_json(other)
    except (TypeError, ValueError):
        return False  # What cannot be written is refused by the service, in its words.
