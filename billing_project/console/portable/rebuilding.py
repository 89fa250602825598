"""Work everything out again from raw events and what people decided, and compare the state hash.

What follows is taken away and made again by the services that make it every day: windows, ratings,
ledger, obligations, schedules, journal; then each period's claims are drafted again and compared
with what was issued (`redrafting`). What came in stays as it was: events and corrections, rules
and approvals, grants and what ended them, issued documents, what settled them, and when a month was
closed. All of it happens in one transaction that is undone; nothing that is stored changes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from psycopg import sql

from billing_project.console.portable import rebuilding_sql as text
from billing_project.console.portable.redrafting import Differing, Redrafted, redraft_all
from billing_project.console.portable.state import PartHash, StateHash, state_hash
from billing_project.console.portable.state_sql import INVOICES, PARTS
from billing_project.console.portable.unguarded import unguarded
from billing_project.kernel.canonical import sha256_hex
from billing_project.kernel.errors import BillingError, Conflict
from billing_project.kernel.quantity import how_many
from billing_project.kernel.users import worker_user
from credits.replay_facts import ClawBackFact, EntryFact, RatedFact
from credits.selectors.facts import Rulebook
from credits.selectors.recorded import Recorded, recorded_of
from credits.services.rebuilding import Fact, Names, Run, in_runs, rate_again
from metering.models import EventBatch
from metering.services.aggregate import aggregate_batches, carry_idle_hours
from revrec.models import AccountingPeriod
from revrec.selectors.facts import waiting_customers
from revrec.services.anchoring import set_aside
from revrec.services.rebuilding import end_month_again, recognise_again

OnStep = Callable[[str, int], None]  # What is done, and how many more of it.

_TOGETHER, _FACTS_TOGETHER = 100, 100_000  # Customers, and facts, held in memory at once.
_ALL = 10**9
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)  # No level goes on: windows know no instant.
_SHOWN = 1_000
_NAMES = [part.name for part in PARTS]


@dataclass(frozen=True)
class Rebuilt:
    """What came of it."""

    recorded: StateHash
    rebuilt: StateHash
    differences: tuple[Differing, ...]  # The first ones.
    refused: tuple[str, ...]  # What the guards did not let happen again.
    redrafted: int = 0  # Documents that were drafted again,
    given: int = 0  # and those that were taken as they are.


def rebuild(on_step: OnStep = lambda name, count: None) -> Rebuilt:
    """Work everything out again; return both hashes, and the first lines that differ.

    It locks every table that it rebuilds: use it on a copy that nobody else works on.

    Raises:
        Conflict: the worker was not done: events wait for their windows, or facts for the books.
    """
    with transaction.atomic(), set_aside():
        _refuse_waiting()
        recorded = state_hash()
        _keep()
        _keep_lines("recorded_line")
        with _unreferenced(text.REBUILT):
            _rebuild_windows(on_step)
            refused = _rebuild_credits(on_step)
            drafts = redraft_all(on_step)
            refused += [*drafts.refused, *_rebuild_books(on_step)]
        rebuilt = _with_drafts(state_hash(), drafts)
        found = _differences() if rebuilt != recorded else []
        transaction.set_rollback(True)
    differences = sorted([*found, *drafts.differences], key=lambda one: _NAMES.index(one.part))
    return Rebuilt(
        recorded, rebuilt, tuple(differences[:_SHOWN]), tuple(refused), drafts.again, drafts.given
    )


def _differences() -> list[Differing]:
    _keep_lines("rebuilt_line")
    return [Differing(*row) for row in _all(text.DIFFERENCES, [_NAMES, _SHOWN])]


def _with_drafts(found: StateHash, drafts: Redrafted) -> StateHash:
    """Let the invoices' part say what differs in the drafts; what is stored is what was issued."""
    said = [f"{one.times} {one.line}" for one in drafts.differences] + list(drafts.refused)
    if not said:
        return found
    parts = [
        PartHash(one.name, one.lines, sha256_hex("\n".join([one.sha256, *said])))
        if one.name == INVOICES.name
        else one
        for one in found.parts
    ]
    return StateHash(tuple(parts))


def _refuse_waiting() -> None:
    """Rebuild what is complete: what waits would be done now, and differ."""
    batches = EventBatch.objects.filter(aggregated_at__isnull=True).count()
    customers = waiting_customers().count()
    if batches or customers:
        raise Conflict(
            f"the worker is not done: {how_many(batches, 'post')} of events and the books of"
            f" {how_many(customers, 'customer')} wait; pack once nothing does",
            code="work_waits",
        )


def _keep() -> None:
    for table in text.KEPT:
        _run(text.KEEP.format(table=table))
    for statement in (*text.INDEXES, *text.KEEP_LINES):
        _run(statement)


def _keep_lines(table: str) -> None:
    for part in PARTS:
        _run(text.KEEP_PART.format(table=table, part=part.name, query=part.query))


@contextmanager
def _unreferenced(tables: Sequence[str]) -> Iterator[None]:
    """Let rows go that others refer to, until they are there again; the end undoes it."""
    _run("SET CONSTRAINTS ALL IMMEDIATE")
    _run("SET CONSTRAINTS ALL DEFERRED")
    drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
    with connection.cursor() as cursor:
        for table, name in _all(text.REFERENCES, [list(tables)]):
            cursor.execute(drop.format(sql.Identifier(table), sql.Identifier(name)))
    yield


def _rebuild_windows(on_step: OnStep) -> None:
    with unguarded(text.CHANGED):
        for statement in text.FORGET_WINDOWS:
            _run(statement)
    at = _one(text.SETTLED_UNTIL)
    by_batches = aggregate_batches(at=at or _FIRST, limit=_ALL)
    on_step("batches", by_batches)
    if at is not None:
        on_step("hours", carry_idle_hours(at=at))
    with unguarded(text.WINDOWS):
        _run(text.NAME_WINDOWS)
        _run(text.EMPTY_WINDOWS)


def _rebuild_credits(on_step: OnStep) -> list[str]:
    """Live through every customer's credits again; return what could not happen any more."""
    refused: list[str] = []
    for some in _groups():
        rules = {pk: Rulebook(pk) for pk in some}
        recorded = {pk: recorded_of(pk, rules[pk]) for pk in some}
        with unguarded((*text.CREDITS, *text.SUMS)):
            for statement in text.FORGET_CREDITS:
                _run(statement, {"customers": some})
        for pk in some:
            refused += _rebuild_customer(rules[pk], recorded[pk])
            on_step("facts", len(recorded[pk].facts))
    return refused


def _groups() -> Iterator[list[int]]:
    """Cut customers into groups whose facts are held in memory at once."""
    group: list[int] = []
    facts = 0
    for pk, count in _all(text.FACTS_OF_CUSTOMERS):
        if group and (facts + count > _FACTS_TOGETHER or len(group) == _TOGETHER):
            yield group
            group, facts = [], 0
        group.append(pk)
        facts += count
    if group:
        yield group


def _rebuild_customer(rules: Rulebook, recorded: Recorded) -> Iterator[str]:
    pk, by = rules.customer_id, worker_user()
    names = Names(_places(text.NAMES_OF_USAGE, pk), _places(text.NAMES_OF_ENTRIES, pk))
    for one in in_runs(recorded.facts, rules):
        try:
            with transaction.atomic():
                if isinstance(one, Run):
                    rate_again(run=one, rules=rules, names=names, by=by)
                else:
                    _as_it_was(one)
        except IntegrityError as error:
            yield f"{_name_of(one)}: {str(error).splitlines()[0]}"
        _name_linked_grants(pk)


def _name_of(one: Run | Fact) -> str:
    return f"usage rated at {one.at:%Y-%m-%dT%H:%M:%SZ}" if isinstance(one, Run) else one.key


def _as_it_was(fact: Fact) -> None:
    """Let what a person or time did happen again."""
    if isinstance(fact, EntryFact):
        _run(text.ENTRIES_AS_THEY_WERE, [[fact.key]])
    elif isinstance(fact, ClawBackFact):
        _run(text.CLAW_BACK_AS_IT_WAS, {"id": int(fact.key.partition(":")[2])})
    else:
        _note_as_it_was(fact)


def _note_as_it_was(fact: RatedFact) -> None:
    """Give back, or take again, what a credit note said."""
    _run(text.USAGE_AS_IT_WAS, [fact.key])
    _run(text.GRANTS_OF_NOTE, [f"{fact.key}:grant:%"])
    _run(text.ENTRIES_AS_THEY_WERE, [[entry.key for entry in fact.entries]])


def _name_linked_grants(customer_id: int) -> None:
    """Give grants that usage made the ids of those that they stand for."""
    if pairs := _all(text.LINKED_GRANTS, [customer_id]):
        with unguarded(text.CREDITS):
            for new, old in pairs:
                for statement in text.NAME_GRANT:
                    _run(statement, {"new": new, "old": old})


def _rebuild_books(on_step: OnStep) -> Iterator[str]:
    """Post the journal again; say what keeps it from being posted, and leave it as it was then."""
    try:
        with transaction.atomic():
            _rebuild_journal(on_step)
            _run("SET CONSTRAINTS ALL IMMEDIATE")  # Each guard has its say.
    except (BillingError, IntegrityError) as error:
        yield f"the journal: {str(error).splitlines()[0]}"


def _rebuild_journal(on_step: OnStep) -> None:
    with unguarded(text.CHANGED):
        for statement in (*text.FORGET_JOURNAL, text.OPEN_MONTHS, *text.KEEP_REBUILT):
            _run(statement)
    by = worker_user()
    for period_id, closed_at in _all(text.CLOSES, []):
        known = _one(text.KNOWN_AT, {"period": period_id})
        _each(text.HIDE, {"known": known})
        period = AccountingPeriod.objects.get(pk=period_id)
        on_step("entries", end_month_again(period=period, by=by, at=closed_at))
        with unguarded(text.CHANGED):
            _run(text.CLOSE_MONTH, [period_id])
        _each(text.SHOW, {})
    last: datetime | None = _one(text.LAST_RUN)
    if last is not None:
        until = dict(_all(text.LAST_RUNS, []))
        on_step("entries", recognise_again(by=by, at=last, until=until))


def _each(statements: Sequence[str], params: Mapping[str, Any]) -> None:
    with unguarded(("entry_source", "rated_usage", "ledger_transaction")):
        for statement in statements:
            _run(statement, params if "%(" in statement else None)


def _places(query: str, customer_id: int) -> dict[str, tuple[int, int]]:
    return {key: (pk, position) for key, pk, position in _all(query, [customer_id])}


def _run(statement: str, params: Any = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)


def _one(query: str, params: Any = None) -> Any:
    return _all(query, params)[0][0]


def _all(query: str, params: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return list(cursor.fetchall())
