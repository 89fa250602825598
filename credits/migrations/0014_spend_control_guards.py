from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import (
    append_only,
    facts_with_state,
    joins_own_change,
    needs_approved,
)

HOLDS = (Path(__file__).parent / "sql" / "holds.sql").read_text()
_MOVES = ("credits", "parts", "state", "expires_at", "identifier", "ended_at", "counted_at")


class Migration(migrations.Migration):
    """Rules of the request path, decisions and holds under guard."""

    dependencies = [("credits", "0013_spend_control")]
    operations = [
        append_only("spend_limit"),
        joins_own_change("spend_limit", "spend_limit"),
        append_only("control_policy"),
        joins_own_change("control_policy", "control_policy"),
        append_only("model_exception"),
        joins_own_change("model_exception", "model_exception"),
        append_only("spend_authorization"),
        needs_approved("spend_authorization", "control_policy_id", "control_policy"),
        needs_approved("spend_authorization", "exception_id", "model_exception"),
        facts_with_state("hold", *_MOVES),
        needs_approved("spend_counter", "limit_id", "spend_limit"),
        facts_with_state(
            "alert", "acknowledged_at", "acknowledged_by_id", "note"
        ),
        migrations.RunSQL(
            HOLDS, "DROP TRIGGER end_once ON hold; DROP FUNCTION hold_ends_once"
        ),
    ]
