"""The form that begins a backfill; its pages stand in invoicing, which prices it."""

from django import forms
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from billing_project.kernel.backoffice.forms import ActionForm, ReasonField


class BackfillRangeForm(ActionForm):
    """Which events are to be replaced, and why."""

    start_at = forms.SplitDateTimeField(
        label="From (UTC)", help_text="A whole hour.", widget=UnfoldAdminSplitDateTimeWidget
    )
    end_at = forms.SplitDateTimeField(
        label="To (UTC)",
        help_text="A whole hour, not included.",
        widget=UnfoldAdminSplitDateTimeWidget,
    )
    event_names = forms.CharField(
        label="Event names",
        required=False,
        help_text="Separated by commas; empty means every event of the range.",
        widget=UnfoldAdminTextInputWidget,
    )
    reason = ReasonField()

    def clean_event_names(self) -> list[str]:
        """Split the names."""
        names: str = self.cleaned_data["event_names"]
        return [name.strip() for name in names.split(",") if name.strip()]
