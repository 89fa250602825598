"""Sign in, sign out, and a person's own page: their devices and what was tried in their name."""

from contextlib import suppress
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from billing_project.console.sign_in.forms import TimeZoneForm
from billing_project.console.sign_in.middleware import PASSED, WANTED
from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import SignInAttempt, SignInOutcome, User
from billing_project.kernel.signins.devices import (
    DEVICE,
    devices_of,
    sign_in_device,
    sign_out_device,
    sign_out_everywhere,
)
from billing_project.kernel.signins.factors import factor_of
from billing_project.kernel.signins.fresh import sign_in_anew
from billing_project.kernel.users import set_time_zone

_MOST_SHOWN = 20


@never_cache
def sign_in_page(request: HttpRequest) -> HttpResponse:
    """Ask for name and password; remember the device of whoever is in."""
    before, was = request.session.get(DEVICE), request.user
    was_user = was if isinstance(was, User) else None
    response = admin.site.login(request)
    attempt: SignInAttempt | None = getattr(request, "sign_in_attempt", None)
    if attempt is not None and isinstance(request.user, User):
        at = timezone.now()
        if was_user is not None:  # Signed in here until now, perhaps as somebody else.
            _end(before, was_user)
        device = sign_in_device(user=request.user, attempt=attempt, at=at)
        for key in (PASSED, WANTED):  # A session that goes on was another log-in's.
            request.session.pop(key, None)
        request.session[DEVICE] = device.pk
        sign_in_anew(request.session, at)
        if attempt.outcome == SignInOutcome.CODE_WANTED:
            request.session[WANTED] = True
    return response


@never_cache
def sign_out_page(request: HttpRequest) -> HttpResponse:
    """End the session and its device."""
    if request.method == "POST" and isinstance(request.user, User):
        _end(request.session.get(DEVICE), request.user)
    return admin.site.logout(request)


def own_page(request: HttpRequest) -> HttpResponse:
    """Show where the person is signed in, and what was tried in their name of late."""
    user, at = request.user, timezone.now()
    assert isinstance(user, User)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Your log-in",
        "devices": devices_of(user, at),
        "factor": factor_of(user),
        "own_device": request.session.get(DEVICE),
        "attempts": SignInAttempt.objects.filter(user=user)[:_MOST_SHOWN],
        "zone_form": TimeZoneForm(initial={"time_zone": user.time_zone}),
    }
    return TemplateResponse(request, "console/own_sign_in.html", context)


@require_POST
def own_time_zone_page(request: HttpRequest) -> HttpResponse:
    """Keep in whose times the person reads."""
    user, form = request.user, TimeZoneForm(request.POST)
    assert isinstance(user, User)
    if form.is_valid():
        zone = form.cleaned_data["time_zone"]
        set_time_zone(user=user, zone=zone, by=user, at=timezone.now())
        messages.success(request, f"Times are shown in {zone or settings.SELLER_TIME_ZONE}.")
    else:
        messages.error(request, "There is no such time zone.")
    return HttpResponseRedirect(reverse("console:own_sign_in"))


@require_POST
def sign_out_device_page(request: HttpRequest) -> HttpResponse:
    """Sign out one device of the person's own, or all but this one."""
    user, at = request.user, timezone.now()
    assert isinstance(user, User)
    wanted = request.POST.get("device", "")
    if wanted == "others":
        count = sign_out_everywhere(
            user=user, by=user, at=at, but=request.session.get(DEVICE),
            but_session=request.session.session_key,
        )  # fmt: skip
        messages.success(request, f"Signed out on {count} other device{'s' * (count != 1)}.")
    elif wanted.isascii() and wanted.isdigit() and len(wanted) <= 18:
        try:
            sign_out_device(device=int(wanted), by=user, at=at)
        except NotFound as error:
            messages.error(request, error.message)
        else:
            messages.success(request, "Signed out there.")
    else:
        raise PermissionDenied
    return HttpResponseRedirect(reverse("console:own_sign_in"))


def _end(device: int | None, user: User) -> None:
    """Sign out the device that a session had, if it is the person's."""
    if device is not None:
        with suppress(NotFound):
            sign_out_device(device=device, by=user, at=timezone.now())
