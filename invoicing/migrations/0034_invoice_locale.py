from django.db import migrations, models


class Migration(migrations.Migration):
    """How an invoice was written when it was issued."""

    dependencies = [
        ("invoicing", "0033_restored_credits"),
        ("metering", "0028_customer_locale"),
    ]
    operations = [
        migrations.AddField(
            "invoice", "locale", models.CharField(blank=True, db_default="", max_length=35)
        )
    ]
