"""What the worker does, and when: two loops all the time, the calendar every few minutes.

One loop brings usage into balances, the other brings what happened into the books; a balance never
waits for a journal. A task is a doorbell. Each step takes what waits inside its own transaction, so
that a task which is lost, doubled or killed changes nothing; the next one finds the same work.
"""

import time
from collections.abc import Callable

from django.conf import settings
from django.db import close_old_connections, connection
from django_q.models import Schedule
from django_q.tasks import async_task

import credits.tasks
import invoicing.tasks
import metering.tasks
import revrec.tasks
from billing_project.kernel import clock
from billing_project.kernel.apart import each_apart
from billing_project.kernel.users import worker_user
from billing_project.kernel.webhooks.delivering import door, send_due_webhooks, tell_of_disabled
from billing_project.kernel.webhooks.forgetting import forget_webhooks
from invoicing.selectors.covered import periods_to_draft

CHAIN_SECONDS = 85  # The schedule's minute and the scheduler's half: runs leave no gap.
# A round of usage begins this long after the one before: what came meanwhile is rated in one go.
USAGE_SECONDS = 1.5
BOOKS_SECONDS = 2.0
STANDBY_SECONDS = 0.5
CROWD = 400  # Periods that ended at once, from which on two workers invoice them.
# Usage without a rate is looked for this often: an alert comes well within its minute.
WATCH_SECONDS = 10.0

WEBHOOK_SECONDS = 45  # Of sending in a run; what is on its way then ends within its own bounds.

# (name, function, minutes between runs)
SCHEDULES = (
    ("usage", "billing_project.console.tasks.move_usage", 1),
    ("books", "billing_project.console.tasks.move_books", 1),
    ("lag", "metering.tasks.watch_lag", 1),
    ("partitions", "metering.tasks.make_partitions", 60),
    ("imports", "metering.tasks.run_imports", 1),
    ("backfills", "invoicing.tasks.ring_backfills", 1),
    ("expiry", "credits.tasks.expire_grants", 5),
    ("recurring grants", "credits.tasks.give_recurring", 5),
    ("holds", "credits.tasks.lapse_holds", 1),
    ("limits", "credits.tasks.watch_limits", 1),
    ("forecast", "credits.tasks.forecast", 15),
    ("alert rules", "credits.tasks.watch_rules", 1),
    ("anomalies", "invoicing.tasks.look_for_anomalies", 60),
    ("checkpoints", "invoicing.tasks.prepare_checkpoints", 60),
    ("alerts", "credits.tasks.tell_alerts", 1),
    ("collecting", "invoicing.tasks.collect", 1),
    ("mirror", "invoicing.tasks.mirror", 5),
    ("invoice mails", "invoicing.tasks.send_mails", 1),
    ("webhooks", "billing_project.console.tasks.send_webhooks", 1),
    ("webhook retention", "billing_project.console.tasks.forget_sent", 60),
    ("reconciliation", "invoicing.tasks.reconcile_days", 1440),
    ("audit packs", "revrec.tasks.ring_packs", 1),
    ("billing", "billing_project.console.tasks.run_billing", 5),
)
_GONE = ("chain",)  # Schedules of earlier releases.


def step_chain() -> int:
    """Take each step of the chain once; return how much was done (0: nothing waited).

    A step that fails does not stop the next ones: they have work of their own.
    """
    return _each(
        "chain",
        metering.tasks.work_quarantine,
        metering.tasks.aggregate,
        credits.tasks.rate,
        revrec.tasks.recognise,
    )


def drain_chain() -> int:
    """Move the chain until nothing waits; return how much was done."""
    done = total = step_chain()
    while done:
        done = step_chain()
        total += done
    return total


def move_usage(seconds: float = CHAIN_SECONDS) -> None:
    """Keep usage moving into balances for a while; the next run starts before this one ends."""

    def step() -> None:
        _each("renew", invoicing.tasks.renew)  # Usage must find its period.
        _each("usage", metering.tasks.aggregate, credits.tasks.rate, invoicing.tasks.freeze)
        if _each("recharge", invoicing.tasks.recharge):  # The balance is as low as it gets now.
            async_task("invoicing.tasks.collect")

    _keep_moving("usage", step, USAGE_SECONDS, seconds)


def move_books(seconds: float = CHAIN_SECONDS) -> None:
    """Keep the books following for a while; the next run starts before this one ends."""

    watched = -WATCH_SECONDS

    def step() -> None:
        nonlocal watched
        _each("books", metering.tasks.work_quarantine, revrec.tasks.recognise_gathered)
        if time.monotonic() >= watched + WATCH_SECONDS:
            watched = time.monotonic()
            _each("watch", credits.tasks.watch_unrated)

    _keep_moving("books", step, BOOKS_SECONDS, seconds)


def _keep_moving(name: str, step: Callable[[], None], beat: float, seconds: float) -> None:
    """Step once each beat, unless another run does: then stand by, ready to take over.

    The lock only spares work that would be done twice; nothing relies on it. Whatever ends a run,
    its connection is closed: no worker keeps the lock while it does something else.
    """
    end = time.monotonic() + seconds
    try:
        while (begin := time.monotonic()) < end:
            close_old_connections()
            if _leads(name):
                step()
                time.sleep(max(0.0, begin + beat - time.monotonic()))
            else:
                time.sleep(STANDBY_SECONDS)
    finally:
        connection.close()


def _leads(name: str) -> bool:
    """Hold this loop's advisory lock until the connection closes, if it is free or ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid()"
            " AND locktype = 'advisory' AND objid = hashtext(%(name)s)::oid)"
            " OR pg_try_advisory_lock(0, hashtext(%(name)s))",
            {"name": f"loop:{name}"},
        )
        is_leading: bool = cursor.fetchone()[0]
    return is_leading


def run_billing() -> None:
    """Open the periods that began; invoice those that ended; credit what was too much.

    Where a crowd of periods ended, a second worker begins at their other end.
    """
    if len(periods_to_draft(clock.now())[:CROWD]) == CROWD:
        async_task("invoicing.tasks.bill_backwards")
    _each(
        "billing",
        invoicing.tasks.apply_openings,
        invoicing.tasks.renew,
        invoicing.tasks.settle_seats,
        invoicing.tasks.invoice_thresholds,
        invoicing.tasks.draft_overage,
        invoicing.tasks.finalize,
        invoicing.tasks.close_quiet,
        invoicing.tasks.propose_notes,
    )


def send_webhooks() -> int:
    """Tell other systems what happened, as far as it waits; return how many took it."""
    end = time.monotonic() + WEBHOOK_SECONDS
    taken = send_due_webhooks(
        by=worker_user(), now=clock.now, way=door(), is_over=lambda: time.monotonic() > end
    )
    tell_of_disabled(at=clock.now())
    return taken


def forget_sent() -> int:
    """Forget webhooks that were sent long ago, as far as the time goes; return how many rows."""
    end = time.monotonic() + WEBHOOK_SECONDS
    return forget_webhooks(
        days=settings.WEBHOOK_DAYS, by=worker_user(), at=clock.now(),
        is_over=lambda: time.monotonic() > end,
    )  # fmt: skip


def ensure_schedules() -> None:
    """Write the schedules that the worker follows; safe to repeat."""
    Schedule.objects.filter(name__in=_GONE).delete()
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
