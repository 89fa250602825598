"""In whose times pages show instants: the person's own choice, or the seller's time zone."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from billing_project.kernel.backoffice.moments import viewed_from
from billing_project.kernel.models import User


class ViewersZone:
    """Let pages show instants in the time zone of whoever looks; calls of the API stay in UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Look only at requests that bring a session."""
        if settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return self.get_response(request)
        with viewed_from(zone_of(request)):
            return self.get_response(request)


def zone_of(request: HttpRequest) -> str:
    """Return the name of the time zone that somebody reads instants in."""
    user = request.user
    chosen = user.time_zone if isinstance(user, User) else ""
    return chosen or settings.SELLER_TIME_ZONE


def subheader(request: HttpRequest) -> str:
    """Say in the corner of every page which times it shows."""
    return f"Back office, times in {zone_of(request)}"
