"""Statements that each connection plans once, for paths where planning is most of the work."""

from collections.abc import Mapping
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from psycopg.types.numeric import Int8


def run_prepared(sql: str, words: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one statement on the connection of this thread, in its transaction; return its rows.

    Values travel apart from the text, so that the text is the same each time. JSON comes as text.

    Args:
        words: By name; whole numbers go as bigint, so that a small one makes no plan of its own.

    Raises:
        DatabaseError: as Django raises it.
    """
    connection.ensure_connection()
    raw = connection.connection
    values = {name: Int8(value) if type(value) is int else value for name, value in words.items()}
    with connection.wrap_database_errors, psycopg.Cursor(raw) as cursor:
        # Django's own statements carry their values and are never the same twice: not prepared.
        raw.prepare_threshold = 0 if settings.PREPARED_STATEMENTS else None
        try:
            cursor.execute(sql, values)
        finally:
            raw.prepare_threshold = None
        return cursor.fetchall() if cursor.description else []
