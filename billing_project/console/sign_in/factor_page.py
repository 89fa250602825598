"""The second factor: asked for after the password, enrolled with a QR code drawn here."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from unfold.widgets import UnfoldAdminTextInputWidget

from billing_project.console.sign_in.middleware import PASSED, WANTED
from billing_project.console.sign_in.origin import origin_of
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import SecondFactor, SignInOutcome, SignInStep, User
from billing_project.kernel.signins.attempts import TooManyTries, begin_attempt, end_attempt
from billing_project.kernel.signins.devices import DEVICE, sign_out_everywhere
from billing_project.kernel.signins.factors import (
    enrol_factor,
    factor_of,
    new_nonce,
    secret_to_enrol,
    take_code,
)
from billing_project.kernel.signins.fresh import is_fresh, sign_in_anew
from billing_project.kernel.signins.totp import enrolment_uri, secret_text

_NONCE = "second_factor_nonce"  # Of an enrolment that is under way.
_ISSUER = "Billing back office"


class CodeForm(forms.Form):
    """A code of the app, or a recovery code."""

    code = forms.CharField(
        max_length=60,
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false"}
        ),
    )


@never_cache
def second_factor_page(request: HttpRequest) -> HttpResponse:
    """Ask for a code of whoever has a second factor; let everybody else enrol one."""
    user = request.user
    assert isinstance(user, User)
    form = CodeForm(request.POST if request.method == "POST" else None)
    factor = factor_of(user)
    if factor is not None and request.session.get(PASSED) is None:
        return _ask(request, user, form)
    return _enrol(request, user, form, factor)


def next_url(request: HttpRequest) -> str:
    """Return where the person wanted to go; elsewhere than here nobody is sent."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(
        wanted, {request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else reverse("admin:index")


def again_url(request: HttpRequest) -> str:
    """Return where somebody signs in again, and comes back from."""
    again = resolve_url(settings.SIGN_IN_AGAIN_URL)
    return f"{again}?{urlencode({'next': request.get_full_path()})}"


def try_code(request: HttpRequest, user: User, code: str, step: SignInStep) -> SecondFactor | None:
    """Count a try and take its code; None where it is wrong.

    Raises:
        TooManyTries: too many failed of late.
    """
    at = timezone.now()
    attempt = begin_attempt(step=step, username=user.username, origin=origin_of(request), at=at)
    factor = take_code(user=user, code=code, at=at)
    outcome = SignInOutcome.SIGNED_IN if factor else SignInOutcome.FAILED
    end_attempt(attempt=attempt, outcome=outcome, user=user)
    return factor


def _ask(request: HttpRequest, user: User, form: CodeForm) -> HttpResponse:
    if form.is_valid():
        try:
            factor = try_code(request, user, form.cleaned_data["code"], SignInStep.CODE)
        except TooManyTries as error:
            form.add_error(None, error.message)
        else:
            if factor is not None:
                request.session.cycle_key()
                request.session[PASSED] = factor.pk
                sign_in_anew(request.session, timezone.now())
                return HttpResponseRedirect(next_url(request))
            form.add_error("code", "That is not a code of now, or it was used before.")
    return _page(request, form, "Your second factor", "console/second_factor.html")


def _enrol(
    request: HttpRequest, user: User, form: CodeForm, factor: SecondFactor | None
) -> HttpResponse:
    if not is_fresh(request.session, timezone.now()):
        return HttpResponseRedirect(again_url(request))
    nonce = request.session.setdefault(_NONCE, new_nonce())
    if form.is_valid():
        try:
            made, codes = enrol_factor(
                user=user, nonce=nonce, code=form.cleaned_data["code"], at=timezone.now()
            )
        except Invalid as error:
            form.add_error("code", error.message)
        else:
            del request.session[_NONCE]
            request.session.cycle_key()
            request.session.update({PASSED: made.pk, WANTED: True})
            _sign_out_elsewhere(request, user)
            title, template = "Recovery codes", "console/recovery_codes.html"
            return _page(request, form, title, template, codes=codes)
    secret = secret_to_enrol(nonce)
    about: dict[str, Any] = {
        "qr": _drawn(enrolment_uri(secret, _ISSUER, user.username)),
        "secret": secret_text(secret),
        "replaces": factor,
        "back_url": reverse("console:own_sign_in") if _may_leave(request) else "",
    }
    return _page(request, form, "Set up a second factor", "console/enrol_factor.html", **about)


def _sign_out_elsewhere(request: HttpRequest, user: User) -> None:
    """End what was opened without this factor: by the password alone, or by a lost phone."""
    sign_out_everywhere(
        user=user, by=user, at=timezone.now(), reason="set up a second factor",
        but=request.session.get(DEVICE), but_session=request.session.session_key,
    )  # fmt: skip


def _may_leave(request: HttpRequest) -> bool:
    """Tell whether this person may go elsewhere without setting one up."""
    is_wanted = settings.SECOND_FACTOR or request.session.get(WANTED)
    return not is_wanted or request.session.get(PASSED) is not None


def _page(
    request: HttpRequest, form: CodeForm, title: str, template: str, **about: Any
) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        **about,
        "title": title,
        "form": form,
        "next": next_url(request),
    }
    status = 422 if form.is_bound and form.errors else 200
    return TemplateResponse(request, template, context, status=status)


def _drawn(text: str) -> SafeString:
    """Draw a QR code as SVG for the page itself: dark on light in either mode."""
    import segno  # Heavy: only who enrols a phone loads it.

    code = segno.make(text, error="m")
    return SafeString(code.svg_inline(omitsize=True, border=3, dark="#000", light="#fff"))
