"""What the fake knows: objects, keys that were used, events, and its own clock."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.fakes.stripe.faults import Faults
from tests.fakes.stripe.replies import Refusal, Reply, missing

Object = dict[str, Any]
KEY_SECONDS = 24 * 3600
EXPANDABLE = ("customer", "latest_charge", "balance_transaction", "payment_method", "charge",
              "payment_intent", "setup_intent", "source")  # fmt: skip


@dataclass
class Kept:
    """An idempotency key with the call it came with; `reply` is None while that is in flight."""

    fingerprint: str
    at: int
    reply: Reply | None = None


class State:
    """The account. Everything is under one lock, as short as a call."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.faults = Faults()
        self.objects: dict[str, Object] = {}
        self.counts: Counter[str] = Counter()  # Calls, by "METHOD /v1/path" without ids.
        self.shift = 0  # Seconds that the clock was moved.
        self.declines: dict[str, list[str]] = {}  # By payment method: codes of its next charges.
        self.paid_out: dict[str, str] = {}  # Payouts, by the movements that they were made of.
        self.settled_in: dict[str, tuple[str, int]] = {}  # "eur": ("usd", 108), in percent.
        self.captured_percent = 100  # Of what payments from now on are asked for.
        self.seen_meter_events: dict[str, int] = {}
        self.on_event: Callable[[Object], None] = lambda event: None
        self._keys: dict[str, Kept] = {}
        self._last: Counter[str] = Counter()

    def now(self) -> int:
        """Return the account's time in seconds."""
        return int(time.time()) + self.shift

    def new_id(self, prefix: str) -> str:
        """Return the next id of a kind ("pi_")."""
        self._last[prefix] += 1
        return f"{prefix}_fake{self._last[prefix]:08d}"

    def add(self, made: Object) -> Object:
        """Store an object under its id."""
        self.objects[made["id"]] = made
        return made

    def get(self, pk: str, kind: str, param: str = "id") -> Object:
        """Return an object of a kind ("payment_intent")."""
        found = self.objects.get(pk)
        if found is None or found["object"] != kind:
            raise missing(kind, pk, param)
        return found

    def all(self, kind: str) -> Iterator[Object]:
        """Yield the objects of a kind, the newest first, as lists do."""
        for found in reversed(list(self.objects.values())):
            if found["object"] == kind:
                yield found

    def happened(self, type_: str, subject: Object) -> None:
        """Write an event about an object as it is now, and hand it to whoever delivers."""
        event = {
            "id": self.new_id("evt"), "object": "event", "api_version": "2026-10-28.endive",
            "created": self.now(), "data": {"object": deepcopy(subject)}, "livemode": False,
            "pending_webhooks": 1, "request": {"id": None, "idempotency_key": None},
            "type": type_,
        }  # fmt: skip
        self.add(event)
        self.on_event(event)

    def expanded(self, found: Object, paths: list[str]) -> Object:
        """Return a copy with ids replaced by their objects, as `expand` asks."""
        copy = deepcopy(found)
        for path in paths:
            self._expand(copy, path.split("."))
        return copy

    def _expand(self, node: Any, parts: list[str]) -> None:
        if isinstance(node, list):
            for item in node:
                self._expand(item, parts)
        elif isinstance(node, dict) and parts and node.get(parts[0]) is not None:
            value = node[parts[0]]
            if isinstance(value, str):
                if parts[0] not in EXPANDABLE:
                    raise Refusal(400, f"This property cannot be expanded ({parts[0]}).")
                value = node[parts[0]] = deepcopy(self.objects[value])
            self._expand(value, parts[1:])

    def claim_key(self, key: str, method: str, path: str, body: str) -> Reply | None:
        """Take an idempotency key; return the kept answer if it was used before.

        Raises:
            Refusal: it was used with other parameters, or is in flight.
        """
        fingerprint = hashlib.sha256(json.dumps([method, path, body]).encode()).hexdigest()
        kept = self._keys.get(key)
        if kept is None or self.now() - kept.at >= KEY_SECONDS:
            self._keys[key] = Kept(fingerprint, self.now())
            return None
        if kept.fingerprint != fingerprint:
            raise Refusal(
                400, "Keys for idempotent requests can only be used with the same parameters they"
                f" were first used with. Try using a key other than '{key}'.",
                type_="idempotency_error",
            )  # fmt: skip
        if kept.reply is None:
            raise Refusal(409, "There is currently another in-progress request using this key.",
                          code="idempotency_key_in_use")  # fmt: skip
        return Reply(
            kept.reply.status, kept.reply.body,
            {**kept.reply.headers, "Idempotent-Replayed": "true"},
        )  # fmt: skip

    def keep(self, key: str, reply: Reply) -> None:
        """Keep an answer under its key."""
        self._keys[key].reply = reply

    def forget_key(self, key: str) -> None:
        """Let a key be used again: what it came with never began."""
        self._keys.pop(key, None)
