"""Forms of actions: what a person must say before one service is called."""

import json
import re
import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import QueryDict
from django.utils.crypto import constant_time_compare, salted_hmac
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from billing_project.kernel.backoffice.numbers import TypedDecimalField
from billing_project.kernel.errors import BillingError
from billing_project.kernel.money import exponent

_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_OTHER = "What you confirmed is not what was shown before: look at this."


class ActionForm(forms.Form):
    """The base: knows its subject (None above a list), and carries a nonce that names one attempt.

    The nonce is drawn when the page is shown and comes back with it, so that a double click is one
    attempt: services that take a key get it.
    """

    nonce = forms.CharField(widget=forms.HiddenInput)
    before_template = ""  # Shown above the fields, with `form` in its context.
    preview: Any = ""  # What to do with an effect that is shown before it is confirmed.
    table_fields: tuple[str, ...] = ()  # Fields that the template before shows itself.
    from_address: tuple[str, ...] = ()  # Fields that a link to the form may fill in.

    def __init__(self, *args: Any, subject: Model | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.subject = subject
        self.fields["nonce"].initial = secrets.token_urlsafe(18)

    def clean_nonce(self) -> str:
        """Refuse a nonce that this page did not draw."""
        nonce: str = self.cleaned_data["nonce"]
        if not _NONCE.fullmatch(nonce):
            raise ValidationError("Reload the page: its form is damaged.")
        return nonce

    @property
    def key(self) -> str:
        """The idempotency key of this attempt."""
        return f"console:{self.cleaned_data['nonce']}"

    def facts(self) -> list[tuple[str, Any]]:
        """List what the person should have before their eyes while deciding."""
        return []

    def listed_fields(self) -> list[forms.BoundField]:
        """List the fields that the page shows one under another."""
        return [field for field in self if field.name not in self.table_fields]


class PreviewedForm(ActionForm):
    """A form that is tried and shown first, and does its work only once it is confirmed.

    The trial calls the service itself, in a transaction that is taken back: what would be refused
    is refused beside its field, and what is shown is what would be. The page comes back with a seal
    of what it showed: a confirmation of anything else only shows that, too.
    """

    confirmed = forms.BooleanField(
        label="This is what I want",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Send the form once to see its effect, then confirm it.",
    )
    seal = forms.CharField(required=False, widget=forms.HiddenInput)
    unsealed: frozenset[str] = frozenset({"confirmed", "seal"})  # What may change after the look.
    preview_words = (
        "This is a preview: nothing is done yet. Change what you like and send again, or tick"
        " “This is what I want” at the end to do it."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_tried = False
        self.is_other = False  # Something was confirmed that had not been shown.
        self.order_fields([*(n for n in self.fields if n != "confirmed"), "confirmed"])

    def attempt(self) -> None:
        """Call the one service of this form for show, and keep what it would change."""
        raise NotImplementedError

    def place(self, error: BillingError) -> tuple[str | None, str]:
        """Say at which field a service found fault, and what."""
        return (error.field if error.field in self.fields else None), error.message

    def clean(self) -> dict[str, Any]:
        """Try what is wanted and take it back; a refusal stands beside its field."""
        cleaned: dict[str, Any] = super().clean() or {}
        if self.errors:
            return cleaned
        try:
            with transaction.atomic():
                self.attempt()
                transaction.set_rollback(True)
            self.is_tried = True
            self._compare_seals(cleaned)
        except BillingError as error:
            self.add_error(*self.place(error))
        return cleaned

    def is_valid(self) -> bool:
        """Be valid only once confirmed; before that the effect is shown, and nothing is wrong."""
        return super().is_valid() and bool(self.cleaned_data["confirmed"])

    @property
    def preview(self) -> str:
        """Say what to do with the effect that is shown, or return ""."""
        if not self.is_tried or self.errors:
            return ""
        return f"{_OTHER} {self.preview_words}" if self.is_other else self.preview_words

    def sealed(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """Return what a confirmation is of, as JSON."""
        return {name: _plain(cleaned[name]) for name in cleaned.keys() - self.unsealed}

    def _compare_seals(self, cleaned: dict[str, Any]) -> None:
        """Take back a confirmation of what was not shown, and seal what is shown now."""
        text = json.dumps(self.sealed(cleaned), sort_keys=True)
        seal = salted_hmac(f"preview:{type(self).__qualname__}", text).hexdigest()
        self.is_other = cleaned["confirmed"] and not constant_time_compare(cleaned["seal"], seal)
        shown = cast(QueryDict, self.data).copy()
        shown["seal"] = seal
        if self.is_other:
            cleaned["confirmed"] = False
            del shown["confirmed"]
        self.data = shown


def _plain(value: Any) -> Any:
    """Return what a field was cleaned to as JSON, a row as its key."""
    if isinstance(value, Model):
        return f"{value._meta.label}:{value.pk}"
    if isinstance(value, list | tuple | QuerySet):
        return [_plain(one) for one in value]
    return str(value)


class ReasonField(forms.CharField):
    """Why: a sentence that an auditor reads later."""

    def __init__(self, **kwargs: Any) -> None:
        defaults = {
            "label": "Reason",
            "max_length": 1000,
            "help_text": "Kept in the audit trail under your name.",
            "widget": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        }
        super().__init__(**{**defaults, **kwargs})


class ChosenField(forms.ChoiceField):
    """One of several that a person must choose: none of them stands there at first."""

    def __init__(self, *, choices: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminSelectWidget)
        kwargs.setdefault("error_messages", {"required": "Choose one."})
        super().__init__(choices=[("", "Choose"), *choices], **kwargs)


class ReasonForm(ActionForm):
    """A form that asks for the reason and nothing else."""

    reason = ReasonField()


class AmountField(TypedDecimalField):
    """An amount in major units of one currency; cleans to minor units."""

    def __init__(self, *, currency: str = "USD", **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}))
        self.currency = currency
        super().__init__(max_digits=18, **kwargs)

    def clean(self, value: Any) -> Any:
        """Return minor units; refuse fractions of them."""
        amount = super().clean(value)
        if amount is None:
            return None
        minor = amount.scaleb(exponent(self.currency))
        if minor != minor.to_integral_value():
            decimals = exponent(self.currency)
            raise ValidationError(f"{self.currency} has {decimals} decimals.")
        return int(minor)


class CreditsField(TypedDecimalField):
    """A positive number of credits, with at most 12 decimals."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}))
        super().__init__(
            max_digits=36, decimal_places=12, min_value=Decimal("0.000000000001"), **kwargs
        )
