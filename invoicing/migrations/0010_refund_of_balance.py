from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import own_search_path

SQL = Path(__file__).parent / "sql"

# Refunds are facts: their guard looks away once, while each gets the customer of its note.
NAME_CUSTOMERS = [
    "ALTER TABLE refund DISABLE TRIGGER keep_rows",
    "UPDATE refund r SET customer_id = i.customer_id FROM credit_note n"
    " JOIN invoice i ON i.id = n.invoice_id WHERE n.id = r.credit_note_id",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "ALTER TABLE refund ENABLE ALWAYS TRIGGER keep_rows",
]


class Migration(migrations.Migration):
    """Money goes back out of a customer's balance, too."""

    dependencies = [("invoicing", "0009_settlement_guards"), ("metering", "0001_initial")]
    operations = [
        migrations.AlterField(
            model_name="refund",
            name="credit_note",
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="refunds", to="invoicing.creditnote"),
        ),
        migrations.AddField(
            model_name="refund",
            name="customer",
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="metering.customer"),
        ),
        migrations.RunSQL(NAME_CUSTOMERS, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="refund",
            name="customer",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="metering.customer"),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.UniqueConstraint(condition=models.Q(("credit_note__isnull", True)), fields=("customer", "method", "reference"), name="refund_of_balance_reference_once"),
        ),
        migrations.RunSQL(
            (SQL / "refund_of_balance.sql").read_text(),
            (SQL / "refund_of_balance_back.sql").read_text(),
        ),
        own_search_path("refund_within_note", "customer_balance_follow_failure"),
    ]
