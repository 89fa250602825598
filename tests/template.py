"""A migrated database to copy for tests: hundreds of migrations are run once, not in every run.

The copy's name is the hash of all that migrations are made of, so a change makes a new one.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from psycopg import sql

_PREFIX = "tests_migrated_"


def template_name() -> str:
    """Return the name of the copy that fits the migrations as they are now."""
    digest = hashlib.sha256()
    root = Path(settings.BASE_DIR)
    sources = [
        path
        for path in (*root.glob("*/migrations/**/*"), *root.glob("*/*/migrations/**/*"))
        if path.suffix in {".py", ".sql"}
    ]
    sources += [root / "billing_project/kernel/guards.py", root / "requirements.txt"]
    for path in sorted(sources):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return _PREFIX + digest.hexdigest()[:24]


def use_template() -> None:
    """Let the test database be made as a copy, if there is one that fits."""
    name = template_name()
    with connection._nodb_cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        is_there = cursor.fetchone() is not None
    connection.settings_dict["TEST"]["TEMPLATE"] = name if is_there else ""


def keep_template() -> None:
    """Copy the database that was just migrated, before any test; older copies go."""
    name = template_name()
    if connection.settings_dict["TEST"].get("TEMPLATE") == name:
        return
    source = connection.settings_dict["NAME"]
    connection.close()
    with connection._nodb_cursor() as cursor, suppress(DatabaseError):  # Another worker was first.
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{_PREFIX}%"])
        for (old,) in cursor.fetchall():
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(old)))
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        cursor.execute(statement.format(sql.Identifier(name), sql.Identifier(source)))
