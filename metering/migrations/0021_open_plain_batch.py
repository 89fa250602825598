from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """A batch of plain events costs one question."""

    dependencies = [("metering", "0020_own_change")]
    operations = [
        migrations.RunSQL(
            (SQL / "open_plain_batch.sql").read_text(),
            "DROP FUNCTION meter_event_open_plain_batch",
        ),
    ]
