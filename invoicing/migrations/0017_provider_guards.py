from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import append_only, own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Fees, overpayments and disputes under guard."""

    dependencies = [("invoicing", "0016_provider_facts"), ("kernel", "0009_own_search_path")]
    operations = [
        append_only("overpayment"),
        append_only("dispute"),
        append_only("dispute_outcome"),
        append_only("processor_fee"),
        migrations.RunSQL(
            (SQL / "overpayment.sql").read_text(), (SQL / "overpayment_back.sql").read_text()
        ),
        own_search_path("customer_balance_follow_overpayment", "provider_fact_of_invoice"),
    ]
