from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Whole numbers are read without a regular expression, and windows have room to change."""

    dependencies = [("metering", "0010_lag_episode")]
    operations = [
        migrations.RunSQL(
            (SQL / "quick_quantity.sql").read_text(), (SQL / "quick_quantity_back.sql").read_text()
        ),
    ]
