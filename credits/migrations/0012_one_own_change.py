from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import OWN_CHANGE, joins_own_change

FUNCTION = (Path(__file__).parent / "sql" / "own_change.sql").read_text()
KINDS = {
    "rate_card_version": ("rate_card", "rate_override"),
    "rate_pin": ("rate_card", "rate_override", "rate_migration"),
    "credit_policy": ("credit_policy",),
    "grant_terms": ("grant_terms",),
}


def _without_old_trigger(table: str, *kinds: str) -> migrations.RunSQL:
    named = ", ".join(f"'{kind}'" for kind in kinds)
    return migrations.RunSQL(
        f"DROP TRIGGER {OWN_CHANGE} ON {table}",
        [
            f"CREATE TRIGGER {OWN_CHANGE} BEFORE INSERT ON {table} FOR EACH ROW"
            f" EXECUTE FUNCTION credits_require_own_change({named})",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {OWN_CHANGE}",
        ],
    )


class Migration(migrations.Migration):
    """Versions of credits join their own change by the guard that all apps share."""

    dependencies = [("credits", "0011_own_search_path")]
    operations = [
        *(
            operation
            for table, kinds in KINDS.items()
            for operation in (
                _without_old_trigger(table, *kinds),
                joins_own_change(table, *kinds),
            )
        ),
        migrations.RunSQL("DROP FUNCTION credits_require_own_change", FUNCTION),
    ]
