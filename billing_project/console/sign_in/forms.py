"""The form of the log-in page: refuses after too many tries, and says no more than that."""

from typing import TYPE_CHECKING, Any, cast
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget

from billing_project.console.sign_in.origin import origin_of
from billing_project.kernel.models import SignInAttempt, SignInOutcome, SignInStep, User
from billing_project.kernel.signins.attempts import TooManyTries, begin_attempt, end_attempt
from billing_project.kernel.signins.factors import factor_of

if TYPE_CHECKING:
    from django.contrib.admin.forms import AdminAuthenticationForm as _Form
else:
    from unfold.forms import AuthenticationForm as _Form


class SignInForm(_Form):
    """Name and password."""

    attempt: SignInAttempt | None = None  # Once it went well.

    def clean(self) -> dict[str, Any]:
        """Count the try, then look at the password."""
        username = self.cleaned_data.get("username")
        if not username or not self.cleaned_data.get("password"):
            return cast(dict[str, Any], forms.Form.clean(self))
        assert self.request is not None
        try:
            attempt = begin_attempt(
                step=SignInStep.PASSWORD, username=username, origin=origin_of(self.request),
                at=timezone.now(),
            )  # fmt: skip
        except TooManyTries as error:
            raise ValidationError(error.message, code=error.code) from error
        try:
            cleaned = super().clean()
        except ValidationError:
            known = User.objects.filter(username=username).first()
            end_attempt(attempt=attempt, outcome=SignInOutcome.FAILED, user=known)
            raise
        user = self.get_user()
        assert isinstance(user, User)
        wants_code = factor_of(user) is not None
        outcome = SignInOutcome.CODE_WANTED if wants_code else SignInOutcome.SIGNED_IN
        end_attempt(attempt=attempt, outcome=outcome, user=user)
        self.request.sign_in_attempt = attempt  # type: ignore[attr-defined]
        return cleaned


class TimeZoneForm(forms.Form):
    """In whose times somebody reads instants."""

    time_zone = forms.ChoiceField(
        label="Show times in", required=False, widget=UnfoldAdminSelectWidget,
        help_text="UTC stands beside each time where the mouse rests. What you type is UTC.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zones = [(name, name) for name in sorted(available_timezones())]
        own = ("", f"{settings.SELLER_TIME_ZONE}, the seller's")
        self.fields["time_zone"].choices = [own, *zones]  # type: ignore[attr-defined]
