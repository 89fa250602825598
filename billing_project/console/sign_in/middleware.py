"""What stands between a session and the pages: its device, and its second factor."""

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from billing_project.kernel.signins.devices import DEVICE, see_device
from billing_project.kernel.signins.fresh import is_fresh

WANTED = "second_factor_wanted"  # Whether its person has to show a second factor,
PASSED = "second_factor_passed"  # and the id of the one that was shown.


class SignedIn:
    """End the session of a device that was signed out; ask for the second factor before pages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Look at requests that bring a session; calls of the API bring none."""
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            at = timezone.now()  # Real time: a clock that is set for a demo moves no session.
            device = request.session.get(DEVICE)
            if device is not None and not see_device(device=device, at=at):
                logout(request)
            request.is_freshly_signed_in = is_fresh(request.session, at)  # type: ignore[attr-defined]
            if _lacks_factor(request):
                return _to_factor(request)
        return self.get_response(request)


def _lacks_factor(request: HttpRequest) -> bool:
    """Tell whether a page of the back office is asked for before the second factor was shown."""
    if not request.path.startswith(reverse("admin:index")):
        return False
    session = request.session
    if session.get(PASSED) is not None or not (settings.SECOND_FACTOR or session.get(WANTED)):
        return False
    open_to_all = {reverse("console:second_factor"), reverse("admin:logout")}
    return request.user.is_authenticated and request.path not in open_to_all


def _to_factor(request: HttpRequest) -> HttpResponseRedirect:
    wanted = request.get_full_path() if request.method == "GET" else reverse("admin:index")
    return HttpResponseRedirect(f"{reverse('console:second_factor')}?{urlencode({'next': wanted})}")
