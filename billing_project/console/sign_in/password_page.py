"""A person's own password: the old one is a secret that somebody may try, like at the log-in."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from billing_project.console.sign_in.factor_page import again_url
from billing_project.console.sign_in.origin import origin_of
from billing_project.kernel.models import SignInOutcome, SignInStep, User
from billing_project.kernel.signins.attempts import TooManyTries, begin_attempt, end_attempt
from billing_project.kernel.signins.devices import DEVICE, sign_out_everywhere
from billing_project.kernel.signins.fresh import is_fresh

if TYPE_CHECKING:
    from django.contrib.admin.forms import AdminPasswordChangeForm as _Form
else:
    from unfold.forms import AdminOwnPasswordChangeForm as _Form


class PasswordForm(_Form):
    """The old password, counted as a try, and the new one twice."""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request = request

    def clean_old_password(self) -> str:
        """Count the try, then look at the old password."""
        user = self.user
        assert isinstance(user, User)
        try:
            attempt = begin_attempt(
                step=SignInStep.AGAIN, username=user.username, origin=origin_of(self._request),
                at=timezone.now(),
            )  # fmt: skip
        except TooManyTries as error:
            raise ValidationError(error.message, code=error.code) from error
        try:
            old: str = super().clean_old_password()
        except ValidationError:
            end_attempt(attempt=attempt, outcome=SignInOutcome.FAILED, user=user)
            raise
        end_attempt(attempt=attempt, outcome=SignInOutcome.SIGNED_IN, user=user)
        return old


class _PasswordView(PasswordChangeView):
    form_class = PasswordForm
    template_name = "registration/password_change_form.html"

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        answer = super().form_valid(form)
        user, at = self.request.user, timezone.now()
        assert isinstance(user, User)
        session = self.request.session
        sign_out_everywhere(
            user=user, by=user, at=at, reason="changed the password", but=session.get(DEVICE),
            but_session=session.session_key,
        )  # fmt: skip
        return answer


@never_cache
def own_password_page(request: HttpRequest) -> HttpResponseBase:
    """Change the password of whoever proved a short while ago who they are."""
    if not is_fresh(request.session, timezone.now()):
        return HttpResponseRedirect(again_url(request))
    request.current_app = admin.site.name
    view = _PasswordView.as_view(
        success_url=reverse("admin:password_change_done"),
        extra_context=admin.site.each_context(request),
    )
    return view(request)
