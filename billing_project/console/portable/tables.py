"""Which tables a migration pack carries, which it leaves out and why, and what their columns mean.

Everything that is not left out by name is carried: a new table travels without anybody thinking of
it. Who has a pack can read all of it, and opens nothing with it: what lets somebody in arrives
locked, and is made again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.apps import apps
from django.db import connection, models
from django.db.backends.utils import CursorWrapper

# Table: why it stays behind.
LEFT_OUT = {
    "django_migrations": "the new installation's own",
    "django_content_type": "made by `migrate`",
    "auth_permission": "made by `migrate`",
    "auth_group": "made by `setup_roles`",
    "auth_group_permissions": "made by `setup_roles`",
    "kernel_user_groups": "carried by the names of roles, in user_role",
    "kernel_user_user_permissions": "rights come from roles; give others again",
    "django_admin_log": "the audit trail says more",
    "django_session": "everybody signs in again",
    "signed_in_device": "everybody signs in again",
    "sign_in_attempt": "tries to enter another house",
    "second_factor": "derived from SECRET_KEY; people set it up again",
    "recovery_code": "of a second factor that stays behind",
    "webhook_secret": "derived from SECRET_KEY; give each endpoint a new one",
    "webhook_event": "what was told; facts themselves are carried",
    "webhook_delivery": "what was told; facts themselves are carried",
    "idempotency_record": "answers that wait for retries at the old address",
    "django_q_ormq": "the queue: a doorbell; what waits is in the tables",
    "django_q_schedule": "written by the worker as it starts",
    "django_q_task": "what the queue did",
}
# Column: what stands in its place, as SQL over the row; %(at)s is when the pack was made.
LOCKED = {
    ("kernel_user", "password"): "'!'",
    ("api_key", "secret_sha256"): "repeat('0', 64)",
    ("api_key", "revoked_at"): "coalesce(revoked_at, %(at)s)",
    ("webhook_endpoint", "disabled_at"): "coalesce(disabled_at, %(at)s)",
    ("webhook_endpoint", "disabled_reason"): (
        "CASE WHEN disabled_at IS NULL THEN 'moved: make a new secret, then switch it on'"
        " ELSE disabled_reason END"
    ),
    ("journal_entry", "created_xid"): "0",  # Transactions are counted by each server for itself.
}
TO_SET_AGAIN = (
    "passwords: nobody can sign in until `manage.py changepassword NAME` gave them one",
    "second factors: each person sets one up at the first log-in",
    "API keys: all arrive revoked; make new ones with `manage.py create_api_key`",
    "webhook endpoints: all arrive switched off; give each a new secret and switch it on",
    "links to invoices in mails: valid only with the old SECRET_KEY in SECRET_KEY_FALLBACKS",
    "the sealing key: keep the old public half for seals of before; put the key file in place or"
    " make another one with `manage.py make_sealing_key`",
    "Stripe: STRIPE_API_KEY, webhook secrets and the same STRIPE_NAMESPACE; never let two"
    " installations collect at once",
    "the worker: billing runs and automatic recharges go on here as soon as one runs; stop that of"
    " the old installation for good before",
    "files: ARCHIVE_DIR, SEALS_DIR and audit packs are copied by hand",
)
# Rows that `migrate` made: they are replaced by those of the pack.
SEEDED = frozenset({"ledger_account", "number_series", "legal_entity"})
_TABLES = """
SELECT c.relname FROM pg_class c
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
   AND c.relnamespace = current_schema()::regnamespace
   AND c.relname !~ '^meter_event_[0-9]{4}_[0-9]{2}$'
 ORDER BY c.relname
"""
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull
  FROM pg_attribute a
 WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
 ORDER BY a.attnum
"""
_KEY = """
SELECT a.attname FROM pg_index i JOIN pg_attribute a
    ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
 WHERE i.indrelid = %s::regclass AND i.indisprimary ORDER BY array_position(i.indkey, a.attnum)
"""


@dataclass(frozen=True)
class TableColumn:
    """One column as PostgreSQL has it."""

    name: str
    sql_type: str  # "numeric(38,12)"
    may_be_empty: bool
    meaning: str

    @property
    def kind(self) -> type:
        """What a cell is in the files: integers and truths as such, all else as exact text."""
        if self.sql_type in {"bigint", "integer", "smallint"}:
            return int
        return bool if self.sql_type == "boolean" else str


@dataclass(frozen=True)
class Table:
    """One table that is carried."""

    name: str
    about: str
    columns: tuple[TableColumn, ...]
    key: tuple[str, ...]  # Its rows are written in this order.

    def select(self) -> str:
        """Return the statement that reads it, locked columns as they travel."""
        cells = ", ".join(self._cell(column) for column in self.columns)
        order = ", ".join(f'"{name}"' for name in self.key)
        return f'SELECT {cells} FROM "{self.name}" ORDER BY {order}'  # noqa: S608 - own names

    def copy(self) -> str:
        """Return the statement that fills it."""
        names = ", ".join(f'"{column.name}"' for column in self.columns)
        return f'COPY "{self.name}" ({names}) FROM STDIN'

    def _cell(self, column: TableColumn) -> str:
        cell = LOCKED.get((self.name, column.name), f'"{column.name}"')
        return f"({cell})::text" if column.kind is str else cell


def carried_tables() -> list[Table]:
    """Describe every table that a pack carries, in the order of the house."""
    known = {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}
    rank = {name: place for place, name in enumerate(known)}
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        names = [name for (name,) in cursor.fetchall() if name not in LEFT_OUT]
        return [
            _table(cursor, name, known.get(name))
            for name in sorted(names, key=lambda name: (rank.get(name, len(rank)), name))
        ]


def _table(cursor: CursorWrapper, name: str, model: type[models.Model] | None) -> Table:
    cursor.execute(_COLUMNS, [f'"{name}"'])
    meanings = dict(_meanings(model)) if model else {}
    columns = tuple(
        TableColumn(column, kind, empty, _locked(name, column) or meanings.get(column, ""))
        for column, kind, empty in cursor.fetchall()
    )
    cursor.execute(_KEY, [f'"{name}"'])
    key = tuple(column for (column,) in cursor.fetchall())
    doc = (model.__doc__ or "").strip().splitlines() if model else []
    return Table(name, doc[0] if doc else name, columns, key)


def _locked(table: str, column: str) -> str:
    return "not carried: see what is to be set again" if (table, column) in LOCKED else ""


def _meanings(model: type[models.Model]) -> Iterator[tuple[str, str]]:
    """Say of each column what the model knows: its words, what it refers to, what it may be."""
    for field in model._meta.concrete_fields:
        words = [str(field.help_text or field.verbose_name)]
        if isinstance(field, models.ForeignKey):
            target = field.related_model._meta
            words.append(f"refers to {target.db_table}.{target.pk.column}")
        if field.choices:
            values = ", ".join(str(value) for value, _ in field.flatchoices)
            words.append(f"one of {values}")
        yield field.column or "", "; ".join(words)
