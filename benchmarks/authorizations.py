"""POST authorizations at a fixed rate over many customers, beside /healthz of the same server.

Each asks for an estimate of one request, as a gate does before work begins, and holds what it would
cost. Where the server falls behind, what was answered in a second tells how far.
"""

import json
import os
import time
from datetime import UTC, datetime

from django.db import connection

from benchmarks.cpu import postmaster, seconds_of
from benchmarks.crowd import make_crowd
from benchmarks.open_loop import ask, quantile, request, words
from benchmarks.traffic import PORT
from billing_project.console import processes
from billing_project.kernel.keys import create_api_key
from credits.models import Authorization

CUSTOMERS = int(os.environ.get("AUTHORIZATION_CUSTOMERS", "5000"))
RATE = int(os.environ.get("AUTHORIZATION_RATE", "300"))  # Requests a second.
HOT_RATE = int(os.environ.get("AUTHORIZATION_HOT_RATE", "50"))  # All of one customer.
SECONDS = int(os.environ.get("AUTHORIZATION_SECONDS", "20"))
WARM_SECONDS = int(os.environ.get("AUTHORIZATION_WARM_SECONDS", "5"))
GOAL_MILLISECONDS = 25
_ASKED = {"model": "gpt-5.4", "estimate": {"input_tokens": "120", "output_tokens": "40"}}


def run() -> None:
    """Measure, and print one line a figure."""
    make_crowd(CUSTOMERS)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    key = create_api_key(name="bench", scopes=["authorize"], at=datetime.now(UTC))[1]
    asked = [
        request(
            "POST",
            "/v1/authorizations",
            key,
            json.dumps({"customer": f"c-{number}", **_ASKED}).encode(),
        )
        for number in range(1, CUSTOMERS + 1)
    ]
    with processes.running(
        processes.server_command(PORT), "bench-server", processes.server_environment(PORT)
    ) as server:
        processes.wait_until_ready(server, PORT)
        ask(asked, RATE, WARM_SECONDS)
        roles = {"server": server.pid, "database": postmaster(), "load": os.getpid()}
        before, started = seconds_of(roles), time.perf_counter()
        ours = ask(asked, RATE, SECONDS)
        elapsed, after = time.perf_counter() - started, seconds_of(roles)
        hot = ask(asked[:1], HOT_RATE, SECONDS)
        nothing = ask([request("GET", "/healthz", key)], RATE, SECONDS)
    allowed = Authorization.objects.filter(is_allowed=True).count()
    if allowed != Authorization.objects.count():
        raise SystemExit("some were refused: a refusal holds nothing, and is cheaper")
    print(f"authorizations asked for at {RATE}/s over {CUSTOMERS:,} customers: {words(ours)}")
    print(f"  answered: {len(ours) / elapsed:,.0f}/s")
    print(f"  of one customer at {HOT_RATE}/s: {words(hot)}")
    print(f"  /healthz of the same server at that rate: {words(nothing)}")
    ratio = quantile(ours, 99) * 1000 / GOAL_MILLISECONDS
    print(f"  ratio to the goal of {GOAL_MILLISECONDS} ms: {ratio:.0%}")
    cpu = ", ".join(f"{role} {(after[role] - before[role]) / elapsed:.2f}" for role in roles)
    print(f"  CPU seconds a second: {cpu}")
