"""Fields of forms that name what metering keeps."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from unfold.widgets import UnfoldAdminTextInputWidget

from metering.models import Customer

_NAMED = 3  # Customers that may be meant.
_LACKS = "No customer has this external id."


class CustomerField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A customer by the external id, typed exactly; who may be meant is named, and not taken."""

    def to_python(self, value: Any) -> Customer | None:
        """Find the customer; where there is none, name those whose name or id begins so."""
        try:
            found: Customer | None = super().to_python(value)
        except ValidationError as error:
            raise ValidationError(f"{_LACKS}{_meant(str(value))}", code=error.code) from error
        return found


def customer_field(**said: Any) -> CustomerField:
    """Ask for a customer by the external id, typed exactly: nobody chooses from a list of all."""
    return CustomerField(
        label="Customer's external id",
        queryset=Customer.objects.all(),
        to_field_name="external_id",
        widget=UnfoldAdminTextInputWidget,
        **said,
    )


def _meant(typed: str) -> str:
    words = typed.strip().replace("\x00", "")
    if not words:
        return ""
    alike = Q(name__istartswith=words) | Q(external_id__istartswith=words)
    named = [f"{one.external_id} ({one.name})" for one in Customer.objects.filter(alike)[:_NAMED]]
    return f" Did you mean {' or '.join(named)}?" if named else ""
