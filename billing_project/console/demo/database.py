"""A fresh database for the demo, and never somebody's data."""

from django.core.management import call_command
from django.db import connection
from django.db.backends.utils import CursorWrapper

from billing_project.console.demo.errors import DemoRefused

_MARK = "made by manage.py demo"


def make_fresh_database() -> None:
    """Empty the database if the demo made it, then migrate.

    Raises:
        DemoRefused: it holds tables that the demo did not make.
    """
    with connection.cursor() as cursor:
        if not _is_ours(cursor):
            name = connection.settings_dict["NAME"]
            raise DemoRefused(
                f"database {name!r} holds data that the demo did not make; name another one in"
                " DATABASE_URL, or in EMBEDDED_PG_NAME for the embedded server"
            )
        # A server or worker that still runs on the last demo would block the drop for ever.
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        cursor.execute("DROP SCHEMA IF EXISTS public CASCADE")
        cursor.execute("CREATE SCHEMA public")
        cursor.execute(f"COMMENT ON SCHEMA public IS '{_MARK}'")
    connection.close()
    call_command("migrate", verbosity=0, interactive=False)


def _is_ours(cursor: CursorWrapper) -> bool:
    """Tell whether the demo made this database, or nobody has put anything into it."""
    cursor.execute("SELECT obj_description('public'::regnamespace, 'pg_namespace')")
    if cursor.fetchone()[0] == _MARK:
        return True
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    tables = {name for (name,) in cursor.fetchall()}
    if not tables:
        return True
    if "customer" not in tables:
        return False  # Somebody else's tables.
    cursor.execute("SELECT EXISTS (SELECT FROM customer) OR EXISTS (SELECT FROM kernel_user)")
    return not cursor.fetchone()[0]
