"""Fields for numbers that people type; Django's own read what only Python writes (1_000, NaN)."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from billing_project.kernel.quantity import NotAQuantity, typed_number

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}(\.0*)?", re.ASCII)


class TypedDecimalField(forms.DecimalField):
    """A decimal number in ASCII digits."""

    def to_python(self, value: Any) -> Any:
        """Read exactly what stands there."""
        if isinstance(value, str) and value.strip():
            try:
                value = typed_number(value)
            except NotAQuantity as error:
                raise ValidationError(self.error_messages["invalid"], code="invalid") from error
        return super().to_python(value)


class TypedIntegerField(forms.IntegerField):
    """A whole number in ASCII digits."""

    def to_python(self, value: Any) -> Any:
        """Read exactly what stands there."""
        if isinstance(value, str) and value.strip() and not _WHOLE.fullmatch(value.strip()):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)
