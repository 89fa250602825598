from pathlib import Path

from django.db import migrations

FUNCTION = (Path(__file__).parent / "sql" / "own_change.sql").read_text()


def _own_change(table: str, *kinds: str) -> migrations.RunSQL:
    named = ", ".join(f"'{kind}'" for kind in kinds)
    return migrations.RunSQL(
        [
            f"CREATE TRIGGER require_own_change BEFORE INSERT ON {table} FOR EACH ROW"
            f" EXECUTE FUNCTION credits_require_own_change({named})",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER require_own_change",
        ],
        f"DROP TRIGGER require_own_change ON {table}",
    )


class Migration(migrations.Migration):
    """A version of a rule joins an undecided change of its own kind, and no other."""

    dependencies = [("credits", "0008_first_position"), ("kernel", "0007_approval_guards")]
    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION credits_require_own_change"),
        _own_change("rate_card_version", "rate_card", "rate_override"),
        _own_change("rate_pin", "rate_card", "rate_override", "rate_migration"),
        _own_change("credit_policy", "credit_policy"),
        _own_change("grant_terms", "grant_terms"),
    ]
