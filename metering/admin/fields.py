"""Fields of forms that name what metering keeps."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from metering.models import Customer


def customer_field(**said: Any) -> "forms.ModelChoiceField[Customer]":
    """Ask for a customer by the external id, typed exactly: nobody chooses from a list of all."""
    return forms.ModelChoiceField(
        label="Customer's external id",
        queryset=Customer.objects.all(),
        to_field_name="external_id",
        error_messages={"invalid_choice": "No customer has this external id."},
        widget=UnfoldAdminTextInputWidget,
        **said,
    )
