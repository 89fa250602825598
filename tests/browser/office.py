"""The office that the stories happen in: its address, and what stands outside of the browser."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings


@dataclass(frozen=True)
class Office:
    """A server on the demo's data.

    Attributes:
        environment: What its own commands run with.
        open_month: The month that is over and not closed ("2026-11").
        clock: What time it is for the server.
    """

    address: str
    environment: dict[str, str]
    open_month: str
    clock: datetime

    def send(self, customer: str) -> None:
        """Send one event of a customer, as an app does."""
        key = self._manage("create_api_key", "stories", "--scope", "events:write").split()[-1]
        event = {
            "event_name": "llm_request",
            "identifier": f"story-{customer}",
            "customer": customer,
            "timestamp": (self.clock - timedelta(minutes=5)).isoformat(),
            "properties": {
                "model": "gpt-5.4",
                "input_tokens": "10",
                "cached_input_tokens": "0",
                "output_tokens": "5",
            },
        }
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.address}/v1/events",
            json.dumps(event).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            assert answer.status in {200, 202}

    def propose_openings(self, by: str) -> None:
        """Bring a customer with credits from another system, as finance does by a file."""
        day = f"{self.clock - timedelta(days=3):%Y-%m-%d}"
        rows = (
            "kind,source_id,customer,name,currency,credits,unit,category,price,effective_at",
            "customer,42,moved-in,Moved In,USD,,,,,",
            f"grant,42-a,moved-in,,USD,120.5,credit,paid,60.25,{day}",
            "balance,42,moved-in,,,120.5,credit,,,",
        )
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "openings.csv"
            file.write_text("\n".join(rows) + "\n")
            self._manage(
                "import_openings", str(file), "--propose", "--reason", "We move", "--by", by
            )

    def apply_openings(self) -> None:
        """Make what was approved, as the worker would within minutes."""
        self._manage("import_openings", "--apply")

    def verify_pack(self, pack: Path) -> None:
        """Run a pack, which adds itself up again, as an auditor does."""
        subprocess.run([sys.executable, "-I", str(pack)], check=True)

    def _manage(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=settings.BASE_DIR, env={**os.environ, **self.environment}, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout
