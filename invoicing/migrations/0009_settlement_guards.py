from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import append_only, own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Balances and refunds under guard: they follow their facts, within what was paid."""

    dependencies = [("invoicing", "0008_first_balances"), ("kernel", "0009_own_search_path")]
    operations = [
        append_only("balance_application"),
        append_only("refund"),
        append_only("refund_failure"),
        migrations.RunSQL(
            (SQL / "settlement.sql").read_text(), (SQL / "settlement_back.sql").read_text()
        ),
        own_search_path(
            "invoice_keep_issued",
            "customer_balance_move",
            "invoice_follow_application",
            "customer_balance_follow_note",
            "invoice_follow_returned",
            "refund_within_note",
            "customer_balance_follow_failure",
        ),
    ]
