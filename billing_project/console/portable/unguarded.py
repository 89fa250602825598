"""Write rows as they were, without the guards that watch how rows come about.

For what is proven as a whole once it is done: a pack that is loaded, facts that are rebuilt. The
guards stand again before the transaction ends, and nobody else sees a table without them: switching
them takes a lock that keeps writers out.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import sql

_GUARDS = """
SELECT c.relname, t.tgname, t.tgenabled::text
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
  LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
 WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
   AND c.relnamespace = current_schema()::regnamespace
   AND coalesce(p.relname, c.relname) = ANY (%s)
 ORDER BY c.relname, t.tgname
"""
_AGAIN = {"A": "ENABLE ALWAYS TRIGGER", "O": "ENABLE TRIGGER", "R": "ENABLE REPLICA TRIGGER"}


@contextmanager
def unguarded(tables: Collection[str]) -> Iterator[None]:
    """Switch the guards of tables off, with those of their partitions, and on again as they were.

    What refers to what is checked at the end, by every foreign key.

    Raises:
        IntegrityError: at the end, where a row refers to none.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # What waits has its say before.
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute(_GUARDS, [list(tables)])
        guards = cursor.fetchall()
        for table, guard, _ in guards:
            _alter(cursor, table, "DISABLE TRIGGER", guard)
        yield
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        for table, guard, state in guards:
            _alter(cursor, table, _AGAIN[state], guard)


def _alter(cursor: CursorWrapper, table: str, action: str, guard: str) -> None:
    statement = sql.SQL("ALTER TABLE {} {} {}")
    cursor.execute(statement.format(sql.Identifier(table), sql.SQL(action), sql.Identifier(guard)))
