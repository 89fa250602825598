from django.db import migrations, models


def add_account(apps, schema_editor):
    apps.get_model("revrec", "LedgerAccount").objects.get_or_create(
        code="4050",
        defaults={"name": "Revenue: outcomes", "is_debit_normal": False, "is_monetary": False},
    )


class Migration(migrations.Migration):
    """Promises of outcomes, and the account that they earn on."""

    dependencies = [("revrec", "0009_arrears_obligation")]
    operations = [
        migrations.RunPython(add_account, migrations.RunPython.noop),
        migrations.AlterField(
            "performanceobligation",
            "kind",
            models.CharField(
                choices=[
                    ("fee", "Fee"),
                    ("credits", "Credits"),
                    ("overage", "Overage"),
                    ("arrears", "Arrears"),
                    ("outcome", "Outcome"),
                    ("shortfall", "Shortfall"),
                ],
                max_length=12,
            ),
        ),
    ]
