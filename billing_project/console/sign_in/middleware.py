"""What stands between a session and the pages: a device that was signed out opens nothing."""

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from billing_project.kernel.signins.devices import see_device

DEVICE = "signed_in_device"  # Where a session keeps the id of its device.


class SignedIn:
    """End the session of a device that was signed out elsewhere."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Look at requests that bring a session; calls of the API bring none."""
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            device = request.session.get(DEVICE)
            # Real time: a clock that is set for a demo moves no session.
            if device is not None and not see_device(device=device, at=timezone.now()):
                logout(request)
        return self.get_response(request)
