from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import append_only, facts_with_state

FUNCTIONS = (Path(__file__).parent / "sql" / "guards.sql").read_text()


class Migration(migrations.Migration):
    """What PostgreSQL refuses, for every app; and the ground's own tables under it."""

    dependencies = [("kernel", "0001_initial")]
    operations = [
        migrations.RunSQL(
            FUNCTIONS,
            "DROP FUNCTION policy_change_decide_once, kernel_require_proposed,"
            " kernel_require_approved, kernel_refuse_other_changes, kernel_refuse_change",
        ),
        append_only("audit_entry"),
        append_only("idempotency_record"),
        facts_with_state("api_key", "revoked_at"),
        facts_with_state(
            "policy_change", "status", "decided_by_id", "decided_at", "decision_reason"
        ),
        migrations.RunSQL(
            [
                "CREATE TRIGGER decide_once BEFORE UPDATE ON policy_change FOR EACH ROW"
                " EXECUTE FUNCTION policy_change_decide_once()",
                "ALTER TABLE policy_change ENABLE ALWAYS TRIGGER decide_once",
                "ALTER TABLE policy_change ADD CONSTRAINT policy_change_content_matches"
                " CHECK (content_sha256 = encode(sha256(convert_to(content, 'UTF8')), 'hex'))",
            ],
            [
                "ALTER TABLE policy_change DROP CONSTRAINT policy_change_content_matches",
                "DROP TRIGGER decide_once ON policy_change",
            ],
        ),
    ]
