"""A migrated database to copy for tests: migrations are run once, not by every worker or run.

The copy's name is the hash of all that migrations are made of, so a change makes a new one. A run
with workers begins to make it in a process of its own (`python -m tests.template`), while they are
at the tests that need no database.
"""

import hashlib
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from tests.light_migrations import light_migrations

_PREFIX = "tests_migrated_"
_UNDONE = "tests_migrating"


def template_name() -> str:
    """Return the name of the copy that fits the migrations as they are now."""
    digest = hashlib.sha256()
    root = Path(settings.BASE_DIR)
    sources = [
        path
        for path in (*root.glob("*/migrations/**/*"), *root.glob("*/*/migrations/**/*"))
        if path.suffix in {".py", ".sql"}
    ]
    sources += [Path(__file__).with_name("light_migrations.py")]
    sources += [root / "billing_project/kernel/guards.py", root / "requirements.txt"]
    for path in sorted(sources):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return _PREFIX + digest.hexdigest()[:24]


def ensure_template() -> str:
    """Return the name of the copy; whoever asks first makes it, the others wait.

    To be called before there is a connection to a database of tests.
    """
    name = template_name()
    with connection._nodb_cursor() as cursor:
        cursor.execute("SET lock_timeout = 0; SET statement_timeout = 0")  # Migrating takes long.
        cursor.execute("SELECT pg_advisory_lock(hashtext(%s))", [_PREFIX])  # Till it is closed.
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{_PREFIX}%"])
        old = [found for (found,) in cursor.fetchall()]
        if name not in old:
            for other in (*old, _UNDONE):
                _run(cursor, "DROP DATABASE IF EXISTS {} WITH (FORCE)", other)
            _run(cursor, "CREATE DATABASE {}", _UNDONE)
            _migrate(_UNDONE)
            _run(cursor, "ALTER DATABASE {} RENAME TO {}", _UNDONE, name)
    return name


def _run(cursor: CursorWrapper, statement: str, *names: str) -> None:
    cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _migrate(name: str) -> None:
    usual = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        with light_migrations():
            call_command("migrate", verbosity=0)
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual


if __name__ == "__main__":
    django.setup()
    ensure_template()
