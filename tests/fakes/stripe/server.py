"""The HTTP side: keys, faults and bodies around what the routes do."""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.stripe import routes, wire
from tests.fakes.stripe.faults import Fault
from tests.fakes.stripe.replies import Refusal, Reply, refused_for_now, server_error
from tests.fakes.stripe.state import State
from tests.fakes.stripe.webhooks import Deliverer, signed_events

SECRET = "whsec_fake"
_PAGE = (
    "<!doctype html><title>Fake checkout</title><form method=post>Card"
    " <input name=card value=4242424242424242> <button>Save card</button></form>"
)
_REFUSED_FOR_NOW = {
    Fault.UNAVAILABLE: (503, "service_unavailable", "Stripe is temporarily unavailable."),
    Fault.TOO_MANY: (429, "rate_limit", "Too many requests hit the API too quickly."),
    Fault.IN_USE: (409, "lock_timeout", "This object cannot be accessed right now."),
}


class FakeStripe(ThreadingHTTPServer):
    """One account, on 127.0.0.1."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, webhook: str = "") -> None:
        self.state = State()
        if webhook:
            self.state.on_event = Deliverer(self.state, webhook, SECRET).take
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: FakeStripe

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay quiet."""

    def do_GET(self) -> None:
        """Read."""
        self._answer("GET", "")

    def do_POST(self) -> None:
        """Write."""
        length = int(self.headers.get("Content-Length") or 0)
        self._answer("POST", self.rfile.read(length).decode())

    def _answer(self, method: str, body: str) -> None:
        address = urlsplit(self.path)
        if address.path.startswith("/c/pay/"):
            return self._checkout(address.path.rpartition("/")[2], method, body)
        if address.path.startswith("/_fake/"):
            return self._send(self._controlled(address.path[7:], body))
        if not self.headers.get("Authorization", "").startswith("Bearer sk_"):
            return self._send(Refusal(401, "Invalid API Key provided.").reply)
        fault = self.server.state.faults.draw(f"{method} {address.path}")
        if fault == Fault.LOST_REQUEST:
            return self._hang_up()
        if fault in _REFUSED_FOR_NOW:
            return self._send(refused_for_now(*_REFUSED_FOR_NOW[fault]))
        reply = self._read(address) if method == "GET" else self._write(address.path, body, fault)
        return self._hang_up() if fault == Fault.LOST_ANSWER else self._send(reply)

    def _read(self, address: Any) -> Reply:
        state, query = self.server.state, wire.parse(address.query)
        with state.lock:
            try:
                found = routes.get(state, address.path.removeprefix("/v1/"), query)
                return Reply(200, state.expanded(found, query.get("expand", [])))
            except Refusal as refusal:
                return refusal.reply

    def _write(self, path: str, body: str, fault: Fault | None) -> Reply:
        """Do a POST once for each idempotency key, and keep what was answered."""
        state, key = self.server.state, self.headers.get("Idempotency-Key", "")
        with state.lock:
            try:
                kept = state.claim_key(key, "POST", path, body) if key else None
            except Refusal as refusal:
                return refusal.reply
            if kept is not None:
                return kept
            reply, is_kept = self._executed(path, body, fault)
            if key and is_kept:
                state.keep(key, reply)
            elif key:
                state.forget_key(key)
            return reply

    def _executed(self, path: str, body: str, fault: Fault | None) -> tuple[Reply, bool]:
        state, given = self.server.state, wire.parse(body)
        if fault == Fault.ERROR:
            return server_error(), True
        state.counts[f"POST {re.sub(r'/[a-z]+_fake[0-9]+', '/{id}', path)}"] += 1
        expand = given.pop("expand", [])
        try:
            made = routes.post(state, path.removeprefix("/v1/"), given, self.server.url)
        except Refusal as refusal:
            return refusal.reply, refusal.is_kept
        if fault == Fault.ERROR_AFTER:
            return server_error(), True
        return Reply(200, state.expanded(made, expand)), True

    def _controlled(self, verb: str, body: str) -> Reply:
        state = self.server.state
        with state.lock:
            if verb == "deliveries":
                return Reply(200, {"result": signed_events(state, SECRET)})
            try:
                return Reply(200, routes.control(state, verb, json.loads(body or "{}")))
            except Refusal as refusal:
                return refusal.reply

    def _checkout(self, session: str, method: str, body: str) -> None:
        state = self.server.state
        if method == "GET":
            return self._send_text(200, _PAGE, "text/html; charset=utf-8", {})
        with state.lock:
            card = wire.parse(body).get("card", "")
            routes.control(state, "complete_session", {"session": session, "card": card})
            where = state.objects[session]["success_url"] or "/"
        return self._send_text(303, "", "text/plain", {"Location": where})

    def _send(self, reply: Reply) -> None:
        self._send_text(reply.status, json.dumps(reply.body), "application/json", reply.headers)

    def _send_text(self, status: int, text: str, kind: str, headers: dict[str, str]) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Request-Id", f"req_fake{id(self):x}")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self) -> None:
        """Close the line without a word, as a proxy does whose patience is over."""
        self.close_connection = True
