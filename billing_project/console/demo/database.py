"""A fresh database for the demo, and never somebody's data."""

from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.backends.utils import CursorWrapper

from billing_project.console.demo.errors import DemoRefused
from revrec.services.anchoring import SEAL_FILES

_MARK = "made by manage.py demo"


def make_fresh_database() -> None:
    """Empty the database if the demo made it, then migrate.

    Raises:
        DemoRefused: it holds data that the demo did not make, or somebody is connected to it.
    """
    with connection.cursor() as cursor:
        if not _is_ours(cursor):
            name = connection.settings_dict["NAME"]
            raise DemoRefused(
                f"database {name!r} holds data that the demo did not make; name another one in"
                " DATABASE_URL, or in EMBEDDED_PG_NAME for the embedded server"
            )
        if _is_in_use(cursor):
            raise DemoRefused(
                "a server or worker still uses the database; stop it first (Ctrl-C in `make serve`)"
            )
        cursor.execute("DROP SCHEMA IF EXISTS public CASCADE")
        cursor.execute("CREATE SCHEMA public")
        cursor.execute(f"COMMENT ON SCHEMA public IS '{_MARK}'")
    connection.close()
    _set_seals_aside()
    call_command("migrate", verbosity=0, interactive=False)


def _set_seals_aside() -> None:
    """Move the seals of the journal that is gone away: no new one is held against them."""
    folder = Path(settings.SEALS_DIR)
    for seal in sorted(folder.glob(SEAL_FILES)):
        (folder / "before").mkdir(exist_ok=True)
        seal.replace(folder / "before" / seal.name)


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


def _is_in_use(cursor: CursorWrapper) -> bool:
    """Tell whether other programs are connected; those that just left get a second to go."""
    for _ in range(10):
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend')"
        )
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT pg_sleep(0.1)")
    return True
