"""The way out: one POST to a pinned address, short, without redirects, with a bounded answer."""

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException
from threading import Timer

from billing_project.kernel.webhooks.addresses import Reach, Refused, Target, pinned, target_of

Resolve = Callable[[str, int], Sequence[str]]  # Name and port -> every address.

WAIT_SECONDS = 5  # For each step: connecting, a part of an answer.
WHOLE_SECONDS = 15  # For all of it: who sends a byte at a time is cut off.
_READ = 1_024  # Bytes of an answer's body; nobody needs more to see what went wrong.


@dataclass(frozen=True)
class Letter:
    """One try: what is sent, and where it may go."""

    url: str
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Answer:
    """What came of a try: a status, or why there was none."""

    status: int | None
    said: str = ""


@dataclass(frozen=True)
class Door:
    """How letters leave; tests put in other names and certificates."""

    reach: Reach
    resolve: Resolve
    context: Callable[[], ssl.SSLContext]
    wait_seconds: int = WAIT_SECONDS
    whole_seconds: int = WHOLE_SECONDS

    def send(self, letter: Letter) -> Answer:
        """Send a letter once; whatever goes wrong is an answer."""
        try:
            target = target_of(letter.url, self.reach)
            # Looked up once: what was checked is what is connected to.
            address = pinned(self.resolve(target.host, target.port), self.reach)
        except Refused as error:
            return Answer(None, f"not sent: {error}")
        except OSError as error:
            return Answer(None, f"its name cannot be resolved: {error}")
        try:
            return self._post(target, address, letter)
        except (OSError, HTTPException) as error:
            return Answer(None, _words(error))

    def _post(self, target: Target, address: str, letter: Letter) -> Answer:
        context = self.context() if target.scheme == "https" else None
        line = _PinnedConnection(target, address, self.wait_seconds, context)
        end = Timer(self.whole_seconds, line.cut)
        end.daemon = True
        end.start()
        try:
            line.request("POST", target.path, letter.body.encode(), dict(letter.headers))
            response = line.getresponse()
            line.refuse_cut()  # Else half a head passes for a whole one.
            status, said = response.status, b""
            with suppress(OSError, HTTPException):  # The status is the answer.
                said = response.read(_READ)
            return Answer(status, said.decode(errors="replace"))
        finally:
            end.cancel()
            line.close()


class _PinnedConnection(HTTPConnection):
    """A connection to an address, for a name: TLS and `Host` are about the name."""

    def __init__(
        self, target: Target, address: str, wait_seconds: int, context: ssl.SSLContext | None
    ) -> None:
        self.default_port = 443 if context else 80
        super().__init__(target.host, target.port, timeout=wait_seconds)
        self._address, self._context = address, context
        self._is_cut = False

    def connect(self) -> None:
        """Connect to the pinned address; the certificate must be the name's."""
        link = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = link
        if self._context is not None:
            self.sock = secure = self._context.wrap_socket(
                link, server_hostname=self.host, do_handshake_on_connect=False
            )
            secure.do_handshake()
        self.refuse_cut()

    def refuse_cut(self) -> None:
        """Say that it took too long, if it did."""
        if self._is_cut:
            raise TimeoutError("it took too long")

    def cut(self) -> None:
        """End the connection whatever it is doing, from another thread."""
        self._is_cut = True
        with suppress(OSError):
            if self.sock is not None:
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def resolve(host: str, port: int) -> list[str]:
    """Ask for every address of a name, in the order in which they are to be tried."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@cache
def trusted() -> ssl.SSLContext:
    """Return what certificates are checked by: the machine's authorities."""
    return ssl.create_default_context()


def _words(error: OSError | HTTPException) -> str:
    return f"{type(error).__name__}: {error}"
