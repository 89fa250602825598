"""Rows as earlier releases stored them, for migrations that read or backfill them."""

import hashlib
from typing import Any

from django.db import connection, transaction

AT = "2026-11-10 09:00+00"
_EMPTY = {
    "character varying": "", "text": "", "jsonb": "{}", "numeric": "0", "bigint": "0",
    "integer": "0", "smallint": "0", "boolean": "false", "timestamp with time zone": AT,
    "bytea": "\\x00", "date": "2026-11-10",
}  # fmt: skip
# What rows refer to unless they say otherwise: everybody buys from the same first rows.
_FIRST = {
    "customer_id": 1, "meter_id": 1, "pricing_unit_id": 1, "rate_card_id": 1, "version_id": 1,
    "rate_card_version_id": 1, "rate_id": 1, "billing_period_id": 1, "window_id": 1, "grant_id": 1,
    "created_by_id": 1, "recorded_by_id": 1, "issued_by_id": 1, "by_id": 1, "proposed_by_id": 1,
    "invoice_id": 1, "credit_note_id": 1, "invoice_line_id": 1, "requested_by_id": 1,
    "decided_by_id": 1, "plan_id": 1, "plan_version_id": 1, "subscription_id": 1,
    "item_id": 1, "outcome_id": 1, "line_id": 1, "period_id": 1, "entry_id": 1,
    "obligation_id": 1, "schedule_id": 1,
}  # fmt: skip


def row(table: str, **columns: int | str) -> int:
    """Insert a row; columns that may not be empty and are not named get a plain value."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name = %s AND is_nullable = 'NO'"
            " AND column_default IS NULL AND is_identity = 'NO'",
            [table],
        )
        plain = {name: _FIRST.get(name, _EMPTY[kind]) for name, kind in cursor.fetchall()}
        values: dict[str, int | str] = {**plain, **columns}
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join(["%s"] * len(values))
        cursor.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id",
            list(values.values()),
        )
        key: int = cursor.fetchone()[0]
    return key


def run(statement: str) -> None:
    """Execute one statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


def use(name: str, statement: str) -> None:
    """Let the connection go to another database, making or dropping the filled one."""
    connection.close()
    connection.settings_dict["NAME"] = name
    with connection._nodb_cursor() as cursor:
        cursor.execute(statement)


def value(query: str) -> Any:
    """Return what the first row has: one value, or several as a tuple."""
    return values(query)[0]


def values(query: str) -> list[Any]:
    """Return every row: one value each, or several as a tuple."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [found[0] if len(found) == 1 else found for found in cursor.fetchall()]


def approve(key: int) -> None:
    """Approve a change of the first release."""
    run(
        "UPDATE policy_change SET status = 'approved', decided_by_id = 2,"
        f" decided_at = '{AT}', decision_reason = 'fits' WHERE id = {key}"
    )


def change(subject: str, status: str) -> int:
    """Propose a change and decide it, as the first release did."""
    content = f'{{"subject": "{subject}"}}'
    key = row(
        "policy_change", kind="rate_card", subject=subject, content=content, status="proposed",
        content_sha256=hashlib.sha256(content.encode()).hexdigest(),
        effective_at="2026-10-01 00:00+00",
    )  # fmt: skip
    if status != "proposed":
        run(
            f"UPDATE policy_change SET status = '{status}', decided_by_id = 2,"
            f" decided_at = '{AT}', decision_reason = 'fits' WHERE id = {key}"
        )
    return key


@transaction.atomic
def fill_the_first_release() -> None:
    """Sell usage: two windows rated, drawn and invoiced; a note that leaves a balance."""
    for name in ("mia", "ann"):
        row("kernel_user", username=name, is_active=True)
    row("customer", external_id="acme", name="Acme", currency="USD", time_zone="UTC")
    row("meter", code="input", event_name="call", aggregation="sum", value_property="tokens",
        dimensions='["model"]', filters="[]", unit="token")  # fmt: skip
    row("audit_entry", action="create_meter", subject="meter:1", by_id=2)
    row("quarantined_event", reason="unknown_event_name", event_name="odd", state="open")
    row("pricing_unit", code="credit", name="Credit")
    row("rate_card", code="standard")
    row("rate_card_version", number=1, policy_change_id=change("rate_card:1", "proposed"))
    row("rate", meter_code="input", unit_price="0.5")
    approve(1)
    row("credit_policy", code="burn_order", number=1, burn_order="[]",
        policy_change_id=change("credit_policy:1", "approved"))  # fmt: skip
    change("rejected", "rejected")
    change("waiting", "proposed")
    row("billing_period", start_at="2026-11-01 00:00+00", end_at="2026-12-01 00:00+00")
    _use_and_draw()
    _sell()
    _invoice_and_credit()


def _sell() -> None:
    row("plan", code="starter", name="Starter")
    key = change("plan:1", "proposed")
    row("plan_version", number=1, currency="USD", fee_minor=4900, interval_unit="month",
        interval_count=1, policy_change_id=key)  # fmt: skip
    approve(key)
    row("subscription", start_at="2026-11-01 00:00+00")


def _use_and_draw() -> None:
    for hour in (9, 10):
        row("usage_window", start_at=f"2026-11-10 {hour}:00+00", quantity="30", event_count=1,
            dimensions_key=str(hour), revision=2)  # fmt: skip
    row("credit_grant", category="promotional", amount="100", remaining="0", source_key="g",
        meter_codes="[]", priority=50)  # fmt: skip
    row("ledger_transaction", kind="granted", credits="100", source_key="g",
        recorded_at="2026-11-10 08:00+00")  # fmt: skip
    for key, window, revision, quantity, charge, drawn in (
        ("w1", 1, 1, "40", "20", "20"),
        ("w2", 2, 1, "30", "15", "15"),
        ("w1b", 1, 2, "-10", "-5", "0"),
    ):
        rated = row(
            "rated_usage", window_id=window, window_revision=revision, quantity=quantity,
            charge=charge, drawn=drawn, overage=str(int(charge) - int(drawn)), source_key=key,
            tiers="[]", rated_at=f"2026-11-10 1{window}:0{revision}+00",
        )  # fmt: skip
        if drawn != "0":
            row("ledger_transaction", kind="drawn", credits=f"-{drawn}", rated_usage_id=rated,
                credit_policy_id=1, source_key=f"d{key}",
                recorded_at=f"2026-11-10 1{window}:0{revision}+00")  # fmt: skip


def _invoice_and_credit() -> None:
    row("invoice", status="draft", currency="USD", total_minor=500, source_key="i")
    row("invoice_line", kind="overage", amount_minor=500, billing_period_id=1, source_key="l",
        service_start_at="2026-11-01 00:00+00", service_end_at="2026-12-01 00:00+00")  # fmt: skip
    run("UPDATE number_series SET last_number = 1")
    run(
        "UPDATE invoice SET status = 'finalized', number = 'INV-1', sequence = 1,"
        f" finalized_at = '{AT}', open_minor = 500 WHERE id = 1"
    )
    row("payment", amount_minor=500, currency="USD", method="wire")
    row("credit_note", number="CN-1", sequence=1, reason="other", currency="USD", total_minor=200,
        balance_minor=200, source_key="n")  # fmt: skip
    row("credit_note_line", amount_minor=200)


@transaction.atomic
def fill_the_settlements() -> None:
    """Refund a note, and claw a purchase back, before either named what it names today."""
    run("UPDATE number_series SET last_number = 2 WHERE code = 'CN'")
    row("credit_note", number="CN-2", sequence=2, reason="other", currency="USD", total_minor=100,
        refund_minor=100, source_key="n2")  # fmt: skip
    row("credit_note_line", amount_minor=100, credit_note_id=2)
    row("refund", amount_minor=100, currency="USD", credit_note_id=2, method="wire",
        reference="r", source_key="r")  # fmt: skip
    row("claw_back", purchase_key="p", reason="refund", reference="r")
    row("meter_version", number=2, event_name="call", value_property="tokens", reason="more",
        rounding_mode="half_even", rounding_decimals=12, effective_at="2026-12-01 00:00+00",
        created_by_id=1, dimensions='["model"]', filters="[]")  # fmt: skip


@transaction.atomic
def fill_the_limits() -> None:
    """Count what a limit was used, before counters kept the end of their window."""
    _let_ann_approve()
    limit = row(
        "policy_change", kind="spend_limit", subject="spend_limit:cap:1", content="{}",
        status="submitted", needs='["finance"]', effective_at="2026-10-01 00:00+00",
        content_sha256=hashlib.sha256(b"{}").hexdigest(),
    )  # fmt: skip
    row("spend_limit", code="cap", number=1, window="day", mode="hard", credits="10",
        policy_change_id=limit)  # fmt: skip
    run(
        "INSERT INTO policy_approval (change_id, function, by_id, at, sha256, reason)"
        f" SELECT id, 'finance', 2, '{AT}', policy_change_digest(c), 'fits'"
        f" FROM policy_change c WHERE id = {limit}"
    )
    run(
        "UPDATE policy_change SET status = 'approved', decided_by_id = 2,"
        f" decided_at = '{AT}', decision_reason = 'fits' WHERE id = {limit}"
    )
    row("spend_counter", limit_id=1, credits="7", through_id=3, warned_percent=50)
    row("alert", kind="spend_limit", title="cap is used up to 50 %", source_key="a")


@transaction.atomic
def fill_the_books() -> None:
    """Recognise a fee in a month that one person closed, and in one that is open."""
    run(
        "INSERT INTO ledger_account (code, name, is_debit_normal, is_monetary)"
        " VALUES ('4050', 'Our outcomes', false, false)"
    )
    for month in (10, 11):
        row("accounting_period", start_on=f"2026-{month}-01", end_on=f"2026-{month + 1}-01",
            status="open", trial_balance="[]")  # fmt: skip
    row("performance_obligation", kind="fee", currency="USD", price_minor=500, source_key="o",
        recognised_minor=0)  # fmt: skip
    row("revenue_schedule", revision=1, price_minor=500, start_on="2026-11-01",
        end_on="2026-12-01")  # fmt: skip
    row("revenue_schedule_line", service_on="2026-11-01", amount_minor=500)
    _post(1, "2026-10-31", "GENESIS")
    _post(2, "2026-11-01", "1")


def _post(key: int, day: str, previous: str) -> None:
    row("journal_entry", effective_on=day, kind="invoice", posting_count=2, source_key=f"e{key}",
        chain_position=key, previous_sha256=previous, entry_sha256=str(key), period_id=key,
        created_xid=0)  # fmt: skip
    for position, account, minor in ((1, "1100", 500), (2, "2120", -500)):
        row("posting", position=position, account_id=account, amount_minor=minor, currency="USD",
            entry_id=key)  # fmt: skip
    row("entry_source", source_type="invoice", source_id=key, role="issue", entry_id=key)


@transaction.atomic
def close_october() -> None:
    """Close a month as it was done before two people did it."""
    run(
        "UPDATE accounting_period SET status = 'closed', closed_by_id = 1,"
        f" closed_at = '{AT}', trial_balance_sha256 = 'x' WHERE id = 1"
    )


@transaction.atomic
def fill_the_items() -> None:
    """Sell seats and outcomes beside a fee; one outcome waits on a draft's line."""
    key = row(
        "policy_change", kind="plan", subject="plan:starter:2", content="{}", status="submitted",
        needs='["finance"]', effective_at="2026-12-01 00:00+00",
        content_sha256=hashlib.sha256(b"{}").hexdigest(),
    )  # fmt: skip
    second = row("plan_version", number=2, currency="USD", fee_minor=4900, interval_unit="month",
                 interval_count=1, policy_change_id=key)  # fmt: skip
    row("plan_item", plan_version_id=second, position=1, kind="outcome", code="solved",
        name="Solved", amount_minor=100, timing="advance", periods=1, kinds="[]")  # fmt: skip
    row("outcome", identifier="case-1", state="pending")
    row("outcome_decision", sequence=1, state_before="pending", state="accepted", reason="ok")
    draft = row("invoice", status="draft", currency="USD", total_minor=100, source_key="i2")
    line = row("invoice_line", kind="outcome", amount_minor=100, billing_period_id=1,
               source_key="l2", invoice_id=draft, service_start_at="2026-11-01 00:00+00",
               service_end_at="2026-12-01 00:00+00")  # fmt: skip
    row("line_outcome", line_id=line)


def _let_ann_approve() -> None:
    kind = row("django_content_type", app_label="kernel", model="policychange")
    allowed = row("auth_permission", codename="approve_policychange", content_type_id=kind)
    group = row("auth_group", name="finance_approver")
    row("auth_group_permissions", group_id=group, permission_id=allowed)
    row("kernel_user_groups", user_id=2, group_id=group)
