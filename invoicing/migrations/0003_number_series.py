from django.db import migrations


def add_series(apps, schema_editor):
    series = apps.get_model("invoicing", "NumberSeries")
    for code in ("INV", "CN"):
        series.objects.get_or_create(code=code)


class Migration(migrations.Migration):
    """One gapless series for invoices, one for credit notes."""

    dependencies = [("invoicing", "0002_guards")]
    operations = [migrations.RunPython(add_series, migrations.RunPython.noop)]
