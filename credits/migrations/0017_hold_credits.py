from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """What a hold reserves is said when it is made, and when it is settled."""

    dependencies = [("credits", "0016_span_of_counters")]
    operations = [
        migrations.RunSQL(
            (SQL / "hold_credits.sql").read_text(), (SQL / "hold_credits_back.sql").read_text()
        ),
        own_search_path("hold_ends_once"),
    ]
