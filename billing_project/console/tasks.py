"""What the worker does, and when: the chain every second, the calendar every few minutes.

A task is a doorbell. Each step takes what waits inside its own transaction, so that a task which is
lost, doubled or killed changes nothing; the next one finds the same work.
"""

import time
from collections.abc import Callable

from django.db import close_old_connections, connection
from django_q.models import Schedule
from django_q.tasks import async_task

import credits.tasks
import invoicing.tasks
import metering.tasks
import revrec.tasks
from billing_project.kernel.apart import each_apart

CHAIN_SECONDS = 85  # The schedule's minute and the scheduler's half: runs leave no gap.
PAUSE_SECONDS = 1.0

# (name, function, minutes between runs)
SCHEDULES = (
    ("chain", "billing_project.console.tasks.move_chain", 1),
    ("partitions", "metering.tasks.make_partitions", 60),
    ("imports", "metering.tasks.run_imports", 1),
    ("expiry", "credits.tasks.expire_grants", 5),
    ("billing", "billing_project.console.tasks.run_billing", 5),
)


def step_chain() -> int:
    """Take each step of the chain once; return how much was done (0: nothing waited).

    A step that fails does not stop the next ones: they have work of their own.
    """
    return _each("chain", metering.tasks.aggregate, credits.tasks.rate, revrec.tasks.recognise)


def drain_chain() -> int:
    """Move the chain until nothing waits; return how much was done."""
    done = total = step_chain()
    while done:
        done = step_chain()
        total += done
    return total


def move_chain(seconds: float = CHAIN_SECONDS) -> None:
    """Keep the chain moving for a while; the schedule starts the next run before this one ends."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        close_old_connections()
        opened = _each("renew", invoicing.tasks.renew)  # Usage must find its period.
        if not opened + step_chain():
            time.sleep(PAUSE_SECONDS)
    connection.close()


def run_billing() -> None:
    """Open the periods that began; invoice those that ended; credit what was too much."""
    _each(
        "billing",
        invoicing.tasks.renew,
        invoicing.tasks.draft_overage,
        invoicing.tasks.finalize,
        invoicing.tasks.close_quiet,
        invoicing.tasks.propose_notes,
    )


def ensure_schedules() -> None:
    """Write the schedules that the worker follows; safe to repeat."""
    for name, function, minutes in SCHEDULES:
        Schedule.objects.update_or_create(
            name=name,
            defaults={
                "func": function,
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
                "repeats": -1,
            },
        )


def ring_all() -> None:
    """Ask for each scheduled task once, now: the scheduler itself looks only twice a minute."""
    for _, function, _ in reversed(SCHEDULES):
        async_task(function)


def _each(task: str, *steps: Callable[[], int]) -> int:
    """Take the steps in their order, each apart; return how much was done."""
    by_name = {step.__name__: step for step in steps}
    return each_apart(by_name, lambda name: by_name[name](), step=task)
