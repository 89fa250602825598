from django.db import migrations, models


class Migration(migrations.Migration):
    """The few entries that gave back what was taken, to be found without reading all."""

    dependencies = [("credits", "0027_ledger_of_a_grant")]
    operations = [
        migrations.AddIndex(
            "ledgertransaction",
            models.Index(
                condition=models.Q(
                    ("kind", "reinstated"), models.Q(("reason_code", "late_usage"), _negated=True)
                ),
                fields=["customer"],
                name="ledger_transaction_given_again",
            ),
        )
    ]
