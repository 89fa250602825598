from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """An event's newest adjustment is looked up by its event, whatever statistics say."""

    dependencies = [("metering", "0025_close_customer")]
    operations = [
        migrations.RunSQL(
            (SQL / "stable_used_meter_event.sql").read_text(),
            (SQL / "stable_used_meter_event_back.sql").read_text(),
        ),
    ]
