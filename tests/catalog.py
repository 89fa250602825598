"""What a database is made of, as PostgreSQL writes it: to compare two of them."""

import re

from django.db import connection

# Months of events come and go with the clock.
_MONTH = re.compile(r"meter_event_\d{4}_\d{2}")
_CATALOG = """
SELECT 'column', table_name || '.' || column_name, concat_ws(' ', data_type,
       character_maximum_length, numeric_precision, numeric_scale, is_nullable, is_identity,
       column_default)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'trigger', tgrelid::regclass || '.' || tgname, tgenabled::text || pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', proname, pg_get_functiondef(oid)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


def catalog() -> set[tuple[str, str, str]]:
    """Return every column, constraint, index, trigger and function in use, but of months."""
    with connection.cursor() as cursor:
        cursor.execute(_CATALOG)
        return {row for row in cursor.fetchall() if not _MONTH.match(row[1])}
