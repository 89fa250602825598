"""What went another way than it should, by kind: since when, who answers for it, what ends it.

Nothing is kept here: each kind reads the rows of the app that found it, and goes when they are
mended, released, acknowledged or explained there. The page of exceptions and the home page both
show what is gathered here.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from billing_project.console import exceptions_of_chain as chain
from billing_project.console import exceptions_of_money as money
from billing_project.console.exception_kinds import Kind

_KINDS: tuple[Callable[[datetime], Kind], ...] = (
    money.older_state,
    *(chain.quarantine, chain.lag, chain.unrated, chain.stuck, chain.failed),
    *(chain.alerts, chain.incidents, money.holds, money.overcharged, money.declined),
    *(money.refunds, money.differences, money.parked, money.mails, money.openings, chain.webhooks),
)


def exceptions_at(at: datetime) -> list[Kind]:
    """List the kinds of which something is open, as the chain runs: from capture to money."""
    found = [kind(at) for kind in _KINDS]
    return [kind for kind in found if kind.count]


def owners_of(kinds: list[Kind]) -> list[str]:
    """List who answers for something of what is shown, by name."""
    return sorted({row.owner for kind in kinds for row in kind.rows})


def of_owner(kinds: list[Kind], owner: str) -> Iterator[Kind]:
    """Leave what one owner answers for."""
    for kind in kinds:
        rows = tuple(row for row in kind.rows if row.owner == owner)
        if rows:
            yield replace(kind, rows=rows)
