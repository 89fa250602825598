"""Lists of tables that grew long: not counted, searched by exact values, filtered by known ones.

A list of a few thousand rows is counted, searched by parts of words, and has its calendar. Over a
hundred thousand rows each of those reads the whole table, so it is left out there: by PostgreSQL's
own estimate of the table's length, and its own list of a column's usual values.
"""

import time
from collections.abc import Iterable
from typing import Any

from django.contrib.admin import AllValuesFieldListFilter
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import CharField, Model, QuerySet

from billing_project.kernel.backoffice.keyset import KeysetPaginator

LONG = 100_000
MOST_COUNTED = 10_000
_REMEMBERED_SECONDS = 600
_LENGTH = """
SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM pg_class c
 WHERE c.oid = to_regclass(%(table)s)
    OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(%(table)s))
"""
_USUAL = """
SELECT value FROM pg_stats s, unnest(s.most_common_vals::text::text[]) AS value
 WHERE s.schemaname = current_schema() AND s.tablename = %s AND s.attname = %s ORDER BY value
"""
# Columns that an index begins with, those of partial indexes left out.
_LEADING = """
SELECT DISTINCT a.attname FROM pg_index i
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
 WHERE i.indrelid = to_regclass(%s) AND i.indpred IS NULL
"""
_known: dict[str, tuple[float, bool]] = {}


def is_long(model: type[Model]) -> bool:
    """Tell whether a table has more rows than a page should read; remembered for ten minutes."""
    table, moment = model._meta.db_table, time.monotonic()
    known = _known.get(table)
    if known is not None and moment - known[0] < _REMEMBERED_SECONDS:
        return known[1]
    with connection.cursor() as cursor:
        cursor.execute(_LENGTH, {"table": f'"{table}"'})
        found = bool(cursor.fetchone()[0] > LONG)
    _known[table] = moment, found
    return found


def found_by_index(model: type[Model], paths: Iterable[str]) -> list[str]:
    """Return the search fields whose column an index begins with."""
    with connection.cursor() as cursor:
        cursor.execute(_LEADING, [f'"{model._meta.db_table}"'])
        leading = {name for (name,) in cursor.fetchall()}
    fields = {field.name: field.column for field in model._meta.concrete_fields}
    fields["pk"] = str(model._meta.pk.column) if model._meta.pk else ""
    return [path for path in paths if fields.get(path.split("__")[0]) in leading]


def paginator_of(rows: QuerySet[Any], per_page: int) -> Any:
    """Count up to ten thousand rows; beyond, pages are turned by key."""
    counted = rows.order_by().values("pk")[: MOST_COUNTED + 1].count()
    if counted > MOST_COUNTED:
        return KeysetPaginator(rows, per_page)
    paginator = Paginator(rows, per_page)
    paginator.count = counted
    return paginator


class UsualValuesFilter(AllValuesFieldListFilter):
    """Offer a column's usual values, as PostgreSQL's statistics have them, without reading it."""

    def __init__(
        self,
        field: Any,
        request: Any,
        params: Any,
        model: type[Model],
        model_admin: Any,
        field_path: str,
    ) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        with connection.cursor() as cursor:
            cursor.execute(_USUAL, [model._meta.db_table, field.column])
            self.lookup_choices = [value for (value,) in cursor.fetchall()]  # type: ignore[assignment]


def with_usual_values(model: type[Model], filters: Iterable[Any]) -> list[Any]:
    """Replace filters that would read a whole column for its values."""
    return [
        (one, UsualValuesFilter) if isinstance(one, str) and _is_read(model, one) else one
        for one in filters
    ]


def _is_read(model: type[Model], name: str) -> bool:
    field = next((one for one in model._meta.fields if one.name == name), None)
    return isinstance(field, CharField) and not field.choices
