import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only


class Migration(migrations.Migration):
    """Usage on one invoice, or on one for each workspace."""

    dependencies = [
        ("invoicing", "0034_invoice_locale"),
        ("metering", "0028_customer_locale"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.CreateModel(
            name="InvoiceSplit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("split_by", models.CharField(choices=[("nothing", "one invoice"), ("workspace", "one for each workspace")], max_length=10)),
                ("reason", models.CharField(max_length=500)),
                ("recorded_at", models.DateTimeField()),
                ("customer", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="metering.customer")),
                ("recorded_by", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL)),
            ],
            options={
                "db_table": "invoice_split",
                "ordering": ["-id"],
                "permissions": [("record_invoicesplit", "Can say how a customer's usage is invoiced")],
            },
        ),
        append_only("invoice_split"),
        migrations.AddField(
            "invoice",
            "workspace",
            models.ForeignKey(
                blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT,
                related_name="+", to="metering.workspace",
            ),
        ),
    ]
