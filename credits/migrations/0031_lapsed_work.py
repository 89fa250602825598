from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Work whose hold lapsed may still be said not to have happened."""

    dependencies = [("credits", "0030_bill_comparison")]
    operations = [
        migrations.RunSQL(
            (SQL / "lapsed_work.sql").read_text(), (SQL / "hold_credits.sql").read_text()
        ),
        own_search_path("hold_ends_once"),
    ]
