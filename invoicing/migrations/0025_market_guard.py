from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """The guard of open markets without a condition outside of its function."""

    dependencies = [("invoicing", "0024_own_terms")]
    operations = [
        migrations.RunSQL((SQL / "market_guard.sql").read_text(), migrations.RunSQL.noop),
        own_search_path("invoice_need_open_market"),
    ]
