"""Empty the installation of a test, so that another one can be brought in."""

from django.db import connection

from billing_project.console.portable.tables import SEEDED, carried_tables
from billing_project.console.portable.unguarded import unguarded
from credits.selectors.remembered import forget_rules
from tests.conftest import _filled_tables


def empty() -> None:
    """Delete every row that a pack would carry, as if the database had only been migrated."""
    with connection.cursor() as cursor:
        filled = set(_filled_tables(cursor))
    names = filled & {"kernel_user_groups", *(table.name for table in carried_tables())}
    with unguarded(names | SEEDED), connection.cursor() as cursor:
        for name in sorted(names - SEEDED):
            cursor.execute(f'DELETE FROM "{name}"')
        cursor.execute("DELETE FROM number_series WHERE entity_id <> 1")
        cursor.execute("DELETE FROM legal_entity WHERE id <> 1")
        cursor.execute("UPDATE number_series SET last_number = 0")
    forget_rules()
