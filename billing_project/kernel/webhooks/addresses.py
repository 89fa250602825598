"""Which addresses a webhook may go to: public ones, so that nobody reaches inside through us.

Pure: names are resolved elsewhere, and every address that a name has must be admitted here.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

# Beside what IANA does not call global: all that carries or hides another address, and the
# services of clouds that answer only from inside.
_NEVER_V4 = tuple(
    ip_network(one)
    for one in (
        "0.0.0.0/8",  # This host.
        "10.0.0.0/8",
        "100.64.0.0/10",  # Carriers' own (CGNAT), a cloud's metadata among them.
        "127.0.0.0/8",
        "168.63.129.16/32",  # A cloud's own services, at a public address.
        "169.254.0.0/16",  # Link-local: 169.254.169.254 gives credentials away.
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = ip_network("2000::/3")  # All that is routed; mapped, NAT64, local ones lie outside.
_NEVER_V6 = tuple(
    ip_network(one)
    for one in (
        "2001::/23",  # Protocols' own; Teredo carries IPv4.
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries IPv4.
        "3fff::/20",
    )
)
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_PATH = re.compile(r"[\x21\x23-\x7e]*", re.ASCII)  # No space, no control character, no quote.
_LONGEST = 1_000


class Refused(ValueError):
    """An address to which nothing is sent; the text says why."""


@dataclass(frozen=True)
class Target:
    """Where a webhook goes; `host` is in ASCII, `path` has its query."""

    scheme: str
    host: str
    port: int
    path: str


@dataclass(frozen=True)
class Reach:
    """Where webhooks may go at all."""

    schemes: frozenset[str]
    ports: frozenset[int] | None  # None: any.
    admits: Callable[[Address], bool]


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the open internet, and carries no other inside it."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in net for net in _NEVER_V4)
    return (
        address in _GLOBAL_V6 and address.is_global and not any(address in net for net in _NEVER_V6)
    )


def target_of(url: str, reach: Reach) -> Target:
    """Read an address that somebody typed.

    Raises:
        Refused: another scheme or port than may be reached, a name and password in it, a fragment,
            or no address at all.
    """
    if len(url) > _LONGEST or not url.isprintable() or "\\" in url:
        raise Refused("it is no address")
    try:
        parts = urlsplit(url)
        port = (443 if parts.scheme == "https" else 80) if parts.port is None else parts.port
        host = (parts.hostname or "").encode("idna").decode().lower()
    except (ValueError, UnicodeError) as error:
        raise Refused("it is no address") from error
    if parts.scheme not in reach.schemes:
        raise Refused(f"it begins with {' or '.join(sorted(reach.schemes))}://")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Refused("it has no user, no password and no fragment")
    if reach.ports is not None and port not in reach.ports:
        raise Refused(f"its port is {' or '.join(str(one) for one in sorted(reach.ports))}")
    if not (_HOST.fullmatch(host) or _is_address(host)):
        raise Refused("it names no host")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _PATH.fullmatch(path):
        raise Refused("its path is not percent-encoded")
    return Target(parts.scheme, host, port, path)


def pinned(found: Sequence[str], reach: Reach) -> str:
    """Return the one address to connect to, of all that a name has.

    One bad address among good ones refuses them all: whoever answers so tries something.

    Raises:
        Refused: the name has no address, or one that may not be reached.
    """
    if not found:
        raise Refused("its name has no address")
    for one in found:
        if not _is_address(one) or not reach.admits(ip_address(one)):
            raise Refused(f"{one} is no public address")
    return found[0]


def _is_address(text: str) -> bool:
    try:
        return "%" not in text and bool(ip_address(text))
    except ValueError:
        return False


PUBLIC = Reach(frozenset({"https"}), frozenset({443, 8443}), is_public)
# For demonstrations and tests only: receivers on this machine.
LOOPBACK = Reach(frozenset({"http", "https"}), None, lambda address: address.is_loopback)
