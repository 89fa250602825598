"""Lists of the back office over a million rows: first, middle and last page, a filter, a search.

The demo's rows are multiplied, so that they differ as real ones do. Beside each page the same
statements alone, as psql would run them: what is left is ours.
"""

import logging
import math
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import ForeignKey, Model
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing_project.console.portable.unguarded import unguarded
from billing_project.kernel.models import User

ROWS = int(os.environ.get("LISTS_ROWS", "1000000"))
IS_READY = bool(os.environ.get("LISTS_READY"))  # The rows are there since the last run.
GOAL_MILLISECONDS = 300
_ROUNDS = 3
_CUSTOMERS = 10_000
_CUSTOMER = f"%(customers)s + 1 + n %% {_CUSTOMERS}"
_NAME = "md5(n::text)"
_HASH = "md5(n::text) || md5('h' || n)"


@dataclass(frozen=True)
class Copies:
    """How rows of a table are multiplied.

    Attributes:
        share: Of ROWS.
        columns: What differs, as SQL over `n` (1 and up); %(table)s is the largest id of a table.
        of: Which rows are copied.
    """

    table: str
    share: float
    columns: dict[str, str]
    of: str = "true"


_COPIES = (
    Copies("customer", _CUSTOMERS / ROWS, {"external_id": "'many-' || n", "name": "'Many ' || n"}),
    Copies("meter_event", 1, {"identifier": _NAME, "customer_id": _CUSTOMER}),
    Copies("event_identity", 1, {
        "identifier": _NAME, "customer_id": _CUSTOMER, "event_id": "%(meter_event)s + n",
    }),
    Copies("event_batch", 0.1, {}),
    Copies("usage_window", 1, {"dimensions_key": _NAME, "customer_id": _CUSTOMER}),
    Copies("rated_usage", 1, {
        "source_key": _NAME, "customer_id": _CUSTOMER, "position": "n",
        "window_id": "%(usage_window)s + n",
    }),
    Copies("credit_grant", 0.1, {
        "source_key": _NAME, "customer_id": _CUSTOMER, "rule_id": "NULL",
    }),
    Copies("ledger_transaction", 1, {
        "source_key": _NAME, "customer_id": _CUSTOMER, "position": "n",
        "rated_usage_id": "%(rated_usage)s + n",
    }, "kind = 'drawn'"),
    Copies("invoice", 0.3, {
        "number": "'INV-9' || n", "sequence": "1000000 + n", "source_key": _NAME,
        "customer_id": _CUSTOMER, "replaces_id": "NULL",
    }, "status IN ('finalized', 'paid')"),
    Copies("invoice_line", 1, {
        "source_key": _NAME, "position": "n", "invoice_id": "%(invoice)s + 1 + n %% (%(rows)s / 4)",
    }),
    Copies("line_usage", 1, {"rated_usage_id": "%(rated_usage)s + n", "is_void": "true"}),
    Copies("payment", 0.2, {"reference": _NAME, "invoice_id": "%(invoice)s + n"}),
    Copies("journal_entry", 0.5, {
        "source_key": _NAME, "customer_id": _CUSTOMER, "reverses_id": "NULL",
        "chain_position": "1000000 + n", "previous_sha256": _HASH, "entry_sha256": _HASH,
    }),
    Copies("posting", 1, {
        "entry_id": "%(journal_entry)s + 1 + n %% (%(rows)s / 2)",
        "position": "1 + n / (%(rows)s / 2)", "customer_id": _CUSTOMER,
    }),
    Copies("entry_source", 1, {"source_id": "1000000000 + n"}),
    Copies("spend_authorization", 1, {"customer_id": _CUSTOMER}),
    Copies("audit_entry", 1, {"subject": "'invoice:' || n"}),
    Copies("quarantined_event", 0.2, {"identifier": _NAME}),
    Copies("alert", 0.1, {"source_key": _NAME, "customer_id": _CUSTOMER}),
)  # fmt: skip


def run() -> None:
    """Measure every list, and print one line for each page that was asked for."""
    if not IS_READY:
        call_command("demo", "--no-serve", "--port", os.environ.get("LISTS_PORT", "8177"))
        _multiply()
    reader = User.objects.filter(username="lists").first() or User.objects.create_user(
        "lists", password=None, is_staff=True
    )
    reader.groups.add(Group.objects.get(name="auditor"))
    client = Client(raise_request_exception=False)
    client.force_login(reader)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '3s'")  # What takes longer is lost anyhow.
    logging.disable()
    slow = [name for name, query in _asked() if _measure(client, name, query) > GOAL_MILLISECONDS]
    print(f"  beyond {GOAL_MILLISECONDS} ms: {', '.join(slow) or 'none'}")


def _multiply() -> None:
    largest: dict[str, int] = {"rows": ROWS}
    for one in _COPIES:
        begin = time.perf_counter()
        with unguarded([one.table]), connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")  # No key is looked up.
            cursor.execute("SET LOCAL statement_timeout = 0")
            count = _copy(cursor, one, largest)
        print(f"  {one.table}: {count:,} rows, {time.perf_counter() - begin:.0f} s", flush=True)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _copy(cursor: CursorWrapper, one: Copies, largest: dict[str, int]) -> int:
    """Write a table's copies; keep the largest id from before."""
    names = _columns(cursor, one.table)
    if "id" in names:
        cursor.execute(f'SELECT coalesce(max(id), 0) FROM "{one.table}"')
        largest[one.table] = cursor.fetchone()[0]
    largest.setdefault("customers", largest.get("customer", 0))
    cells = {"id": f"{largest.get(one.table, 0)} + n", **one.columns}
    values = ", ".join(cells.get(name, f't."{name}"') for name in names)
    listed = ", ".join(f'"{name}"' for name in names)
    cursor.execute(
        f"WITH t AS MATERIALIZED (SELECT *, row_number() OVER () - 1 AS place"
        f' FROM "{one.table}" WHERE {one.of}), all_of_t AS (SELECT count(*) AS total FROM t)'
        f' INSERT INTO "{one.table}" ({listed}) SELECT {values}'
        f" FROM (SELECT n, n %% total AS place FROM generate_series(1, %(count)s) n, all_of_t) m"
        f" JOIN t USING (place)",
        {**largest, "count": int(ROWS * one.share)},
    )
    return int(cursor.rowcount)


def _columns(cursor: CursorWrapper, table: str) -> list[str]:
    cursor.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
        [table],
    )
    return [name for (name,) in cursor.fetchall()]


def _asked() -> Iterator[tuple[str, str]]:
    """Yield the pages of every list that is long: first, middle, last, of a customer, of a search.

    The middle one is the ten-thousandth of a million rows.
    """
    for model, page in sorted(admin.site._registry.items(), key=lambda one: one[0]._meta.db_table):
        if _length(model) < ROWS // 100:
            continue
        name = model._meta.model_name or ""
        yield name, reverse(f"admin:{model._meta.app_label}_{name}_changelist")
        yield f"{name}, middle page", f"{_url(model)}?p=after:{_middle(model, page)}"
        yield f"{name}, last page", f"{_url(model)}?p=last"
        yield f"{name}, filtered", f"{_url(model)}?{_filter(model)}"
        if page.search_fields:
            yield f"{name}, searched", f"{_url(model)}?q={_pasted(model, page.search_fields)}"


def _middle(model: type[Model], page: Any) -> object:
    """Return the key of the row in the middle of a list, as the list is sorted."""
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="lists")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        rows = page.get_changelist_instance(request).queryset.values_list("pk", flat=True)
        return rows[rows.count() // 2]


def _url(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def _length(model: type[Model]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class"
            " WHERE oid = to_regclass(%s) OR oid IN (SELECT inhrelid FROM pg_inherits"
            " WHERE inhparent = to_regclass(%s))",
            [model._meta.db_table] * 2,
        )
        return int(cursor.fetchone()[0])


def _filter(model: type[Model]) -> str:
    """Ask for one customer's rows, or for what the newest row has in its first filter."""
    fields = {field.name: field for field in model._meta.fields}
    if isinstance(fields.get("customer"), ForeignKey):
        return "customer__id__exact=100"
    for one in admin.site._registry[model].list_filter:
        name = one if isinstance(one, str) else one[0] if isinstance(one, tuple) else ""
        if name in fields and not isinstance(one, tuple):
            return f"{name}__exact={getattr(_newest(model), fields[name].attname)}"
    return ""


def _pasted(model: type[Model], paths: Any) -> str:
    """Return what the newest row says in the first field that is searched."""
    value: Any = _newest(model)
    for part in str(paths[0]).lstrip("=^@").split("__"):
        value = getattr(value, part, "")
    return str(value)


def _newest(model: type[Model]) -> Model:
    row = model._default_manager.order_by("-pk").first()
    assert row is not None
    return row


def _measure(client: Client, name: str, url: str) -> float:
    taken = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        with CaptureQueriesContext(connection) as captured:
            answer = client.get(url)
        taken.append((time.perf_counter() - begin) * 1000)
        if answer.status_code != HTTPStatus.OK:
            print(f"  {name}: given up, status {answer.status_code}")
            return math.inf
    page, alone = statistics.median(taken), _alone([one["sql"] for one in captured])
    print(f"  {name}: {page:.0f} ms; its {len(captured)} statements alone {alone:.0f} ms")
    return page


def _alone(statements: list[str]) -> float:
    begin = time.perf_counter()
    with connection.cursor() as cursor:
        for statement in statements:
            if statement.lstrip().startswith(("SELECT", "WITH")):
                cursor.execute(statement.replace("%", "%%"), [])
                cursor.fetchall()
    return (time.perf_counter() - begin) * 1000
