from django.db import migrations, models


class Migration(migrations.Migration):
    """Whether a period that grants covered gets an invoice over nothing."""

    dependencies = [("invoicing", "0041_proposed_credits")]
    operations = [
        migrations.AddField(
            "invoicepolicy",
            "invoices_covered",
            models.BooleanField(default=False, db_default=False),
        )
    ]
