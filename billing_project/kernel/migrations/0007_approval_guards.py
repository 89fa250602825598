from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import append_only

FUNCTIONS = (Path(__file__).parent / "sql" / "approvals.sql").read_text()
GUARDS = (Path(__file__).parent / "sql" / "guards.sql").read_text()
# The two functions that approvals.sql replaces, as they were.
_OLD = [
    f"CREATE OR REPLACE FUNCTION {name}{GUARDS.split(f'CREATE FUNCTION {name}')[1].split('END $$;')[0]}END $$;"
    for name in ("kernel_require_proposed", "policy_change_decide_once")
]
# What was approved before approvals had rows of their own was approved by finance.
EARLIER = [
    "INSERT INTO policy_approval (change_id, function, by_id, at, sha256, reason)"
    " SELECT c.id, 'finance', c.decided_by_id, c.decided_at, policy_change_digest(c),"
    " c.decision_reason FROM policy_change c WHERE c.status = 'approved' ORDER BY c.id",
    "SET CONSTRAINTS ALL IMMEDIATE",
]


def _trigger(name: str, table: str, event: str, function: str) -> list[str]:
    return [
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}",
    ]


class Migration(migrations.Migration):
    """PostgreSQL approves a change only with every approval that it needs."""

    dependencies = [
        ("kernel", "0006_submitted_changes"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [
        migrations.RunSQL(
            FUNCTIONS,
            [
                *_OLD,
                "DROP FUNCTION policy_change_keep, policy_change_begin, policy_approval_check,"
                " policy_holds, policy_change_digest",
            ],
        ),
        migrations.RunSQL(EARLIER, migrations.RunSQL.noop),
        append_only("policy_approval"),
        migrations.RunSQL(
            _trigger("approve_once", "policy_approval", "INSERT", "policy_approval_check"),
            "DROP TRIGGER approve_once ON policy_approval",
        ),
        migrations.RunSQL(
            _trigger("begin_undecided", "policy_change", "INSERT", "policy_change_begin"),
            "DROP TRIGGER begin_undecided ON policy_change",
        ),
        migrations.RunSQL(
            [
                "DROP TRIGGER keep_rows ON policy_change",
                *_trigger("keep_rows", "policy_change", "UPDATE OR DELETE", "policy_change_keep"),
            ],
            [
                "DROP TRIGGER keep_rows ON policy_change",
                "CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON policy_change FOR EACH ROW"
                " EXECUTE FUNCTION kernel_refuse_other_changes("
                "'status', 'decided_by_id', 'decided_at', 'decision_reason')",
                "ALTER TABLE policy_change ENABLE ALWAYS TRIGGER keep_rows",
            ],
        ),
        migrations.RunSQL(
            "ALTER TABLE policy_change ADD CONSTRAINT policy_change_needs_known CHECK"
            " (jsonb_typeof(needs) = 'array' AND needs @> '[\"finance\"]'"
            " AND needs <@ '[\"finance\", \"legal\"]'),"
            " ADD CONSTRAINT policy_change_stored_value_needs_legal CHECK"
            " (kind <> 'stored_value' OR needs @> '[\"legal\"]')",
            "ALTER TABLE policy_change DROP CONSTRAINT policy_change_needs_known,"
            " DROP CONSTRAINT policy_change_stored_value_needs_legal",
        ),
    ]
