"""Start the fake as a process, and tell it what should happen."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Fake:
    """A fake that runs at `url`."""

    url: str

    def tell(self, verb: str, **given: Any) -> Any:
        """Let something happen at Stripe; see `routes.control`."""
        line = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            line.request("POST", f"/_fake/{verb}", json.dumps(given).encode())
            return json.load(line.getresponse())["result"]
        finally:
            line.close()

    def faults(self, *rules: dict[str, Any], seed: int = 0) -> None:
        """Set what goes wrong from now on; nothing said: nothing does."""
        self.tell("faults", seed=seed, rules=list(rules))

    def count(self, call: str) -> int:
        """Return how often a POST was carried out ("/v1/payment_intents")."""
        counts: dict[str, int] = self.tell("counts")
        return counts.get(f"POST {call}", 0)


@contextmanager
def running_fake(webhook: str = "") -> Iterator[Fake]:
    """Run the fake on a free port until the block ends."""
    command = [sys.executable, "-m", "tests.fakes.stripe", "--webhook", webhook]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Fake(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
