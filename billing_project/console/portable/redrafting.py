"""Draft every period's claims again, each from what was known when it was, and compare the lines.

What had been rated, billed, credited and voided by then is what is rebuilt; what came later is
hidden meanwhile, in a savepoint that is undone. The drafts come of the services that draft each
day. Other documents are decisions of people (a pack, a change in mid-period, a copy of a void fee)
and taken as given.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.db import IntegrityError, connection, transaction

from billing_project.console.portable import redrafting_sql as text
from billing_project.console.portable.unguarded import unguarded
from billing_project.kernel.errors import BillingError
from invoicing.models import Invoice
from invoicing.services.redrafting import redraft

OnStep = Callable[[str, int], None]


@dataclass(frozen=True)
class Differing:
    """A line that stood and was not made again, or the other way round."""

    part: str
    line: str
    times: int  # More often recorded than rebuilt; below zero: less often.


@dataclass(frozen=True)
class Redrafted:
    """What came of drafting again."""

    again: int  # Documents.
    given: int
    differences: tuple[Differing, ...]
    refused: tuple[str, ...]  # What could not be drafted any more.


@dataclass(frozen=True)
class _Document:
    """An issued invoice; `known_at` is until when facts were known as it was drafted."""

    id: int
    customer_id: int
    number: str
    kind: str
    period_id: int
    place: int
    known_at: datetime
    is_redrafted: bool


def redraft_all(
    on_step: OnStep = lambda name, count: None, customer_id: int | None = None
) -> Redrafted:
    """Draft again what was issued, customer by customer; nothing that is stored changes.

    In a transaction or on its own. While a customer is at work, nobody else writes invoices or
    rates usage.

    Args:
        customer_id: Only this customer's; None: everybody's.
    """
    _run(text.PLACES)
    try:
        documents = [_Document(*row) for row in _all(text.DOCUMENTS, {"customer": customer_id})]
        differences: list[Differing] = []
        refused: list[str] = []
        for _, of_customer in groupby(documents, key=attrgetter("customer_id")):
            some = [one for one in of_customer if one.is_redrafted]
            with transaction.atomic():
                with unguarded(text.GUARDED if some else ()):
                    for one in some:
                        try:
                            differences += _compared(one)
                        except (BillingError, IntegrityError) as error:
                            refused.append(f"{one.number}: {str(error).splitlines()[0]}")
                transaction.set_rollback(True)
            on_step("documents", len(some))
    finally:
        _run(text.FORGET_PLACES)
    again = sum(one.is_redrafted for one in documents)
    return Redrafted(again, len(documents) - again, tuple(differences), tuple(refused))


def _compared(one: _Document) -> Iterator[Differing]:
    [(parts, replaces)] = _all(text.PARTS_OF, {"invoice": one.id})
    recorded, redrafted = _lines(one, parts), _redrafted(one, parts, replaces)
    for lines, sign in ((recorded - redrafted, 1), (redrafted - recorded, -1)):
        yield from (Differing("invoices", line, sign * n) for line, n in sorted(lines.items()))


def _redrafted(one: _Document, parts: list[int], replaces: int | None) -> Counter[str]:
    hidden: dict[str, Any] = {
        "invoice": one.id, "invoices": parts, "customer": one.customer_id, "replaces": replaces,
        "period": one.period_id, "place": one.place, "known": one.known_at,
    }  # fmt: skip
    with transaction.atomic():
        with connection.cursor() as cursor:
            for statement in text.HIDE:
                cursor.execute(statement, hidden)
        drafts = redraft(invoice=Invoice.objects.get(pk=one.id), at=one.known_at)
        lines = _lines(one, [draft.pk for draft in drafts])
        transaction.set_rollback(True)
    return lines


def _lines(one: _Document, invoices: list[int]) -> Counter[str]:
    params = {"number": one.number, "invoices": invoices}
    return Counter(line for (line,) in _all(text.LINES, params))


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _all(query: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return list(cursor.fetchall())
