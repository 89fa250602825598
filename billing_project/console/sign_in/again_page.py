"""Sign in again: what a dangerous action asks for when the log-in is old."""

from django import forms
from django.contrib import admin
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from billing_project.console.sign_in.factor_page import next_url
from billing_project.console.sign_in.origin import origin_of
from billing_project.kernel.models import SignInOutcome, SignInStep, User
from billing_project.kernel.signins.attempts import TooManyTries, begin_attempt, end_attempt
from billing_project.kernel.signins.factors import factor_of, take_code
from billing_project.kernel.signins.fresh import sign_in_anew


class AgainForm(forms.Form):
    """The password, and a code of whoever has a second factor."""

    password = forms.CharField(
        strip=False,
        widget=UnfoldAdminPasswordWidget(
            attrs={"autocomplete": "current-password", "autofocus": True}
        ),
    )
    code = forms.CharField(
        max_length=60,
        help_text="Of your authenticator app, or a recovery code.",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "one-time-code"}),
    )


@never_cache
def sign_in_again_page(request: HttpRequest) -> HttpResponse:
    """Ask who is there, and go on to where they wanted to go."""
    user = request.user
    assert isinstance(user, User)
    form = AgainForm(request.POST if request.method == "POST" else None)
    if factor_of(user) is None:
        del form.fields["code"]
    if form.is_valid() and _is_proved(request, user, form):
        sign_in_anew(request.session, timezone.now())
        return HttpResponseRedirect(next_url(request))
    context = {
        **admin.site.each_context(request),
        "title": "Sign in again",
        "form": form,
        "next": next_url(request),
        "back_url": reverse("admin:index"),
    }
    status = 422 if form.is_bound else 200
    return TemplateResponse(request, "console/sign_in_again.html", context, status=status)


def _is_proved(request: HttpRequest, user: User, form: AgainForm) -> bool:
    at, typed = timezone.now(), form.cleaned_data
    try:
        attempt = begin_attempt(
            step=SignInStep.AGAIN, username=user.username, origin=origin_of(request), at=at
        )
    except TooManyTries as error:
        form.add_error(None, error.message)
        return False
    known = authenticate(request, username=user.username, password=typed["password"])
    is_proved = known == user
    if is_proved and "code" in form.fields:  # A code is not used up by a wrong password.
        is_proved = take_code(user=user, code=typed["code"], at=at) is not None
    outcome = SignInOutcome.SIGNED_IN if is_proved else SignInOutcome.FAILED
    end_attempt(attempt=attempt, outcome=outcome, user=user)
    if not is_proved:
        form.add_error(None, "That is not right, or the code was used before.")
    return is_proved
