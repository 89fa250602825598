"""GET balance at a fixed rate, whatever it costs, beside /healthz of the same server at that rate.

An open loop over 200 customers with a day of rated usage.
"""

import os
from datetime import UTC, datetime, timedelta

from django.db import connection

from benchmarks.cpu import postmaster, seconds_of
from benchmarks.crowd import last_hour, make_crowd, use
from benchmarks.open_loop import ask, quantile, request, words
from benchmarks.traffic import PORT
from billing_project.console import processes
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from credits.services.rating import rate_pending

CUSTOMERS = int(os.environ.get("BALANCE_CUSTOMERS", "200"))
HOURS = int(os.environ.get("BALANCE_HOURS", "24"))
RATE = int(os.environ.get("BALANCE_RATE", "300"))  # Requests a second.
SECONDS = int(os.environ.get("BALANCE_SECONDS", "20"))
WARM_SECONDS = int(os.environ.get("BALANCE_WARM_SECONDS", "5"))
GOAL_MILLISECONDS = 25


def run() -> None:
    """Measure, and print one line a figure."""
    make_crowd(CUSTOMERS)
    use(CUSTOMERS, last_hour() - timedelta(hours=HOURS - 1), hours=HOURS)
    rate_pending(by=User.objects.get(username="bench"), at=datetime.now(UTC))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("SELECT count(*) FROM ledger_transaction")
        entries = cursor.fetchone()[0] // CUSTOMERS
    key = create_api_key(name="bench", scopes=["usage:read"], at=datetime.now(UTC))[1]
    names = [f"c-{number}" for number in range(1, CUSTOMERS + 1)]
    balances = [request("GET", f"/v1/customers/{name}/balance", key) for name in names]
    with processes.running(
        processes.server_command(PORT), "bench-server", processes.server_environment(PORT)
    ) as server:
        processes.wait_until_ready(server, PORT)
        ask(balances, RATE, WARM_SECONDS)
        roles = {"server": server.pid, "database": postmaster(), "load": os.getpid()}
        before = seconds_of(roles)
        ours, after = ask(balances, RATE, SECONDS), seconds_of(roles)
        nothing = ask([request("GET", "/healthz", key)], RATE, SECONDS)
    print(f"balance at {RATE} requests/s, {entries} ledger entries a customer: {words(ours)}")
    print(f"  /healthz of the same server at that rate: {words(nothing)}")
    ratio = quantile(ours, 99) * 1000 / GOAL_MILLISECONDS
    print(f"  ratio to the goal of {GOAL_MILLISECONDS} ms: {ratio:.0%}")
    cpu = ", ".join(f"{role} {(after[role] - before[role]) / SECONDS:.2f}" for role in roles)
    print(f"  CPU seconds a second: {cpu}")
