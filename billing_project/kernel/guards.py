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
