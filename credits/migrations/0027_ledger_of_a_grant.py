from django.db import migrations, models


class Migration(migrations.Migration):
    """A grant's newest entry is found however long the ledger is.

    The foreign key's own index stays: where Django takes one off a column, it takes the column's
    unique indexes with it, and a grant is entered once by one of them.
    """

    dependencies = [("credits", "0026_kept_hours")]
    operations = [
        migrations.AddIndex(
            model_name="ledgertransaction",
            index=models.Index(fields=["grant", "id"], name="ledger_transaction_grant"),
        ),
    ]
