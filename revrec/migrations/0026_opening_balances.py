from django.db import migrations


def add_account(apps, schema_editor):
    apps.get_model("revrec", "LedgerAccount").objects.get_or_create(
        code="3900",
        defaults={"name": "Opening balances", "is_debit_normal": False, "is_monetary": False},
    )


class Migration(migrations.Migration):
    """Where the other side of what was sold before these books began is kept."""

    dependencies = [("revrec", "0025_export_in_books")]
    operations = [migrations.RunPython(add_account, migrations.RunPython.noop)]
