"""What CHECK constraints say, so that the database's own can be compared with the models'.

PostgreSQL writes a condition in its own way: with casts, brackets and ANY for IN. What is compared
is what survives that: columns, literals, comparisons and how often AND, OR and NOT occur.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from django.apps import apps
from django.db import connection
from django.db.models import CheckConstraint, Model, UniqueConstraint

from billing_project.kernel.guard_text import Guards

_CAST = re.compile(
    r"::(?:character varying|[a-z]+(?: with(?:out)? time zone)?)(?:\([\d,]+\))?(\[\])*"
)
_TOKEN = re.compile(
    r"'(?P<text>(?:[^']|'')*)'|\"(?P<name>\w+)\"|(?P<number>-?\b\d+(?:\.\d+)?\b)"
    r"|(?P<sign><=|>=|<>|!=|!~|<|>|~|=|@>|<@)|\b(?P<word>AND|OR|NOT|BETWEEN|IN|NULL|CASE)\b"
)


@dataclass(frozen=True)
class Check:
    """A CHECK constraint that should stand.

    Attributes:
        name: "" if Django lets PostgreSQL find one.
        columns: Those that the condition looks at; none if that is not known.
        said: See `said_by`.
    """

    table: str
    name: str
    columns: frozenset[str]
    said: tuple[str, ...]

    def is_kept_by(self, columns: frozenset[str], said: tuple[str, ...]) -> bool:
        """Tell whether a constraint that stands says the same."""
        return said == self.said and (not self.columns or columns == self.columns)


def unique_names() -> Iterator[tuple[str, str]]:
    """List the unique constraints that the models name, by table."""
    for model in apps.get_models():
        for constraint in model._meta.constraints:
            if isinstance(constraint, UniqueConstraint):
                yield model._meta.db_table, constraint.name


def expected_checks(guards: Guards) -> Iterator[Check]:
    """List the CHECK constraints of all models, and those that migrations wrote by hand."""
    for (table, name), condition in guards.conditions.items():
        yield Check(table, name, frozenset(), said_by(condition))
    for model in apps.get_models(include_auto_created=True):
        if model._meta.managed and not model._meta.proxy:
            yield from _of_constraints(model)
            yield from _of_fields(model)


def said_by(condition: str) -> tuple[str, ...]:
    """Return what of a condition PostgreSQL keeps when it writes it its own way, in order."""
    found: Counter[str] = Counter()
    for token in _TOKEN.finditer(_CAST.sub("", condition)):
        kind, value = token.lastgroup, token[0]
        if kind in ("text", "number"):
            found[token[kind].replace("\\\\", "\\")] += 1
        elif kind == "sign":
            found["<>" if value == "!=" else value] += 1
        elif kind == "word" and value == "BETWEEN":
            found.update([">=", "<="])
        elif kind == "word" and value == "IN":
            found["="] += 1
        elif kind == "word":
            found[value] += 1
    return tuple(sorted(found.elements()))


def _of_constraints(model: type[Model]) -> Iterator[Check]:
    editor = connection.SchemaEditorClass(connection, collect_sql=True)
    for constraint in model._meta.constraints:
        if isinstance(constraint, CheckConstraint):
            condition = constraint._get_check_sql(model, editor)  # type: ignore[attr-defined]
            yield _check(model, constraint.name, condition)


def _of_fields(model: type[Model]) -> Iterator[Check]:
    for column in model._meta.local_concrete_fields:
        if condition := column.db_parameters(connection)["check"]:
            yield _check(model, "", condition)


def _check(model: type[Model], name: str, condition: str) -> Check:
    columns = {token["name"] for token in _TOKEN.finditer(condition) if token["name"]}
    return Check(model._meta.db_table, name, frozenset(columns), said_by(condition))
