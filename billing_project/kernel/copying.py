"""Write many new rows of a model by COPY: the same rows as `bulk_create` makes, at a fraction.

Triggers, keys and checks see them as any other insertion. Nothing is rounded or cleaned here.
"""

import json
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from django.db import connection
from django.db.models import Field, JSONField, Model
from django.db.models.expressions import DatabaseDefault

_DRAW_IDS = "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)"


def copy_rows(rows: Sequence[Model]) -> None:
    """Give new rows of one model their ids, ascending in the order given, and store them.

    Rows that have an id already keep it.

    Columns that the database fills by itself are left to it, as long as no row names a value.

    Raises:
        IntegrityError: the database refuses a row; then none is stored.
    """
    if not rows:
        return
    meta = rows[0]._meta
    _draw_ids(meta.db_table, [row for row in rows if row.pk is None])
    fields = [field for field in meta.concrete_fields if not _is_left(field, rows)]
    names = ", ".join(f'"{field.column}"' for field in fields)
    values = attrgetter(*(field.attname for field in fields))
    jsons = [place for place, field in enumerate(fields) if isinstance(field, JSONField)]
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,  # Django wraps what `execute` raises, not COPY.
        cursor.copy(f'COPY "{meta.db_table}" ({names}) FROM STDIN') as copy,
    ):
        for row in rows:
            copy.write_row(_with_json(values(row), jsons))


def _draw_ids(table: str, rows: Sequence[Model]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_DRAW_IDS, [table, len(rows)])
        for row, (pk,) in zip(rows, sorted(cursor.fetchall()), strict=True):
            row.pk = pk


def _is_left(field: "Field[Any, Any]", rows: Sequence[Model]) -> bool:
    """Tell whether the database fills a column for all of the rows."""
    if not field.has_db_default():
        return False
    left = sum(isinstance(getattr(row, field.attname), DatabaseDefault) for row in rows)
    assert left in (0, len(rows)), f"{field} is named by some rows only"
    return left > 0


def _with_json(values: tuple[Any, ...], places: Sequence[int]) -> Sequence[Any]:
    if not places:
        return values
    written = list(values)
    for place in places:
        if written[place] is not None:
            written[place] = json.dumps(written[place])
    return written
