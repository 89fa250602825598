"""Migration operations that put a table under PostgreSQL's guard.

Row triggers refuse UPDATE and DELETE, statement triggers TRUNCATE; all are ENABLE ALWAYS, so that
session_replication_role does not switch them off. `check_books` compares the triggers that stand
with those that the migrations made.
"""

from typing import Any, TypeAlias

from django.db.migrations import RunSQL

# What RunSQL takes as one statement of several.
Statement: TypeAlias = str | tuple[str, dict[str, Any] | list[Any] | tuple[Any, ...] | None]

# Names of the triggers that the operations below make.
ROW, TRUNCATE, APPROVED, PROPOSED = "keep_rows", "keep_table", "need_approval", "need_proposal"
OWN_CHANGE = "require_own_change"


def append_only(table: str) -> RunSQL:
    """Refuse every UPDATE, DELETE and TRUNCATE of a table."""
    return _operation(
        table,
        {
            ROW: f"BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW"
            " EXECUTE FUNCTION kernel_refuse_change()",
            TRUNCATE: _truncate(table),
        },
    )


def facts_with_state(table: str, *columns: str) -> RunSQL:
    """Refuse DELETE, TRUNCATE and every UPDATE but of the named columns."""
    names = ", ".join(f"'{column}'" for column in columns)
    return _operation(
        table,
        {
            ROW: f"BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW"
            f" EXECUTE FUNCTION kernel_refuse_other_changes({names})",
            TRUNCATE: _truncate(table),
        },
    )


def needs_approved(table: str, column: str, version_table: str) -> RunSQL:
    """Refuse rows that refer to a version which nobody approved."""
    return _operation(
        table,
        {
            f"{APPROVED}_{column}": f"AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows"
            f" FOR EACH STATEMENT EXECUTE FUNCTION"
            f" kernel_require_approved('{version_table}', '{column}')"
        },
    )


def needs_proposed(table: str, column: str, version_table: str) -> RunSQL:
    """Refuse parts of a version once its policy change is decided."""
    return _operation(
        table,
        {
            PROPOSED: f"BEFORE INSERT ON {table} FOR EACH ROW"
            f" EXECUTE FUNCTION kernel_require_proposed('{version_table}', '{column}')"
        },
    )


def joins_own_change(table: str, *kinds: str) -> RunSQL:
    """Refuse rows of versions whose policy change is decided, or of another kind."""
    named = ", ".join(f"'{kind}'" for kind in kinds)
    return _operation(
        table,
        {
            OWN_CHANGE: f"BEFORE INSERT ON {table} FOR EACH ROW"
            f" EXECUTE FUNCTION kernel_require_own_change({named})"
        },
    )


def own_search_path(*functions: str) -> RunSQL:
    """Let functions look for tables in the project's own schema, whatever their caller says.

    A caller's temporary table would else be found before ours of the same name. Replacing a
    function forgets it: name it again then.
    """
    alter = (
        "DO $do$ BEGIN EXECUTE format('ALTER FUNCTION %s {}', '{}'::regproc::regprocedure,"
        " current_schema()); END $do$"
    )
    return RunSQL(
        sql=[alter.format("SET search_path = %I, pg_temp", name) for name in functions],
        reverse_sql=[alter.format("RESET search_path", name) for name in functions],
    )


def _truncate(table: str) -> str:
    return f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION kernel_refuse_change()"


def _operation(table: str, triggers: dict[str, str]) -> RunSQL:
    create: list[Statement] = []
    drop: list[Statement] = []
    for name, definition in triggers.items():
        create.append(f"CREATE TRIGGER {name} {definition}")
        create.append(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
        drop.append(f"DROP TRIGGER {name} ON {table}")
    return RunSQL(sql=create, reverse_sql=drop)
