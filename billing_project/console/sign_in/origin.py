"""Where a request comes from, as far as our own proxies can say."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest

from billing_project.kernel.signins.attempts import Origin


def origin_of(request: HttpRequest) -> Origin:
    """Return the address and the browser of a request.

    Each of our proxies appends the address it was called from to X-Forwarded-For; what stands
    further to the left was written by whoever called, and anybody can write anything.
    """
    address = str(request.META.get("REMOTE_ADDR", ""))
    if (proxies := settings.TRUSTED_PROXIES) > 0:
        said = request.headers.get("X-Forwarded-For", "").split(",")
        if len(said) >= proxies:
            address = _plain(said[-proxies]) or address
    return Origin(_plain(address), request.headers.get("User-Agent", ""))


def _plain(text: str) -> str:
    """Return an address as everybody writes it, or "" for what is none."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
