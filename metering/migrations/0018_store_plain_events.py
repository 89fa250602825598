from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Single events that nothing speaks against are stored by one statement."""

    dependencies = [("metering", "0017_closed_customer")]
    operations = [
        migrations.RunSQL(
            (SQL / "store_plain_events.sql").read_text(), "DROP FUNCTION meter_event_store_plain"
        ),
    ]
