"""CPU seconds of processes: on a busy machine they say more than the clock does."""

import os
from pathlib import Path

import psutil
from django.conf import settings


def seconds_of(roles: dict[str, int]) -> dict[str, float]:
    """Return the CPU seconds that each role's process took until now.

    Args:
        roles: Process ids by name; a process's descendants count with it, this one's do not.
    """
    return {role: _seconds(pid) for role, pid in roles.items()}


def postmaster() -> int:
    """Return the process id of the embedded PostgreSQL."""
    folder = Path(str(settings.DATABASES["default"]["HOST"]))
    return int((folder / "postmaster.pid").read_text().split()[0])


def _seconds(pid: int) -> float:
    """Sum a process's CPU seconds and its descendants', those that ended included."""
    total = 0.0
    process = psutil.Process(pid)
    is_self = pid == os.getpid()
    for one in [process] if is_self else [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if not is_self:
            total += times.children_user + times.children_system
    return total
