"""The register of checks that prove the books; `manage.py check_books` runs them all.

Each app's `checks.py` registers functions that yield findings; no finding means the check holds.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from billing_project.kernel.sessions import one_state


@dataclass(frozen=True)
class Finding:
    """One place where the books do not hold."""

    subject: str  # "customer:7"
    message: str


@dataclass(frozen=True)
class Result:
    """One check with what it found."""

    name: str
    title: str
    findings: tuple[Finding, ...]


CheckFunction = Callable[[], Iterator[Finding]]
_checks: dict[str, tuple[str, CheckFunction]] = {}
_SHOWN = 100  # Findings kept of one check; a broken table would otherwise fill the memory.


def check(title: str) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check under its function's name."""

    def register(function: CheckFunction) -> CheckFunction:
        _checks[f"{function.__module__.split('.')[-2]}.{function.__name__}"] = (title, function)
        return function

    return register


def run_checks(apps: Collection[str] = ()) -> list[Result]:
    """Run every check in the order of registration (ground to roof), all on one state of the books.

    Args:
        apps: Only the checks of these apps ("credits"); none means of all.

    The chain goes on meanwhile: a check that saw the outbox before, and the facts after a commit
    would call what was just accounted for forgotten. Inside somebody's transaction the checks see
    what that one sees.
    """
    with one_state():
        return [
            Result(name, title, tuple(islice(function(), _SHOWN)))
            for name, (title, function) in list(_checks.items())
            if not apps or name.split(".")[0] in apps
        ]
