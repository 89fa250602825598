"""The register of checks that prove the books; `manage.py check_books` runs them all.

Each app's `checks.py` registers functions that yield findings; no finding means the check holds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


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


def run_checks() -> Iterator[Result]:
    """Run every check, one at a time, in the order of registration (ground to roof)."""
    for name, (title, function) in list(_checks.items()):
        findings = []
        for finding in function():
            findings.append(finding)
            if len(findings) >= _SHOWN:
                break
        yield Result(name, title, tuple(findings))
