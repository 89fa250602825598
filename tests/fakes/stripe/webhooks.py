"""Events as Stripe delivers them: signed, again until somebody takes them, in no certain order."""

import hashlib
import hmac
import http.client
import json
import queue
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.stripe.state import Object, State

RETRY_SECONDS, TRIES = 0.5, 20


def signature(body: bytes, secret: str, at: int) -> str:
    """Return the `Stripe-Signature` of a body."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


def body_of(event: Object) -> bytes:
    """Return an event as it is sent: indented, as Stripe does."""
    return json.dumps(event, indent=2).encode()


def signed_events(state: State, secret: str) -> list[dict[str, Any]]:
    """Return all events as deliveries, the oldest first, for whoever carries them by hand."""
    at = state.now()
    bodies = [body_of(event) for event in reversed(list(state.all("event")))]
    return [
        {"body": body.decode(), "signature": signature(body, secret, at)} for body in bodies
    ]  # fmt: skip


class Deliverer:
    """Posts each event to one address; what is not taken comes again later, behind the others."""

    def __init__(self, state: State, url: str, secret: str) -> None:
        self._state, self._url, self._secret = state, urlsplit(url), secret
        self._waiting: queue.Queue[tuple[int, Object]] = queue.Queue()
        threading.Thread(target=self._run, daemon=True).start()

    def take(self, event: Object) -> None:
        """Deliver an event soon."""
        self._waiting.put((TRIES, event))

    def _run(self) -> None:
        while True:
            tries, event = self._waiting.get()
            if not self._is_taken(event) and tries > 1:
                time.sleep(RETRY_SECONDS)
                self._waiting.put((tries - 1, event))

    def _is_taken(self, event: Object) -> bool:
        body = body_of(event)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, self._secret, self._state.now()),
        }
        line = http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=10)
        try:
            line.request("POST", self._url.path, body, headers)
            return 200 <= line.getresponse().status < 300
        except OSError:
            return False
        finally:
            line.close()
