from django.db import migrations, models


class Migration(migrations.Migration):
    """Promises of fees in arrears."""

    dependencies = [
        ('revrec', '0008_shortfall_obligation'),
    ]

    operations = [
        migrations.AlterField(
            model_name='performanceobligation',
            name='kind',
            field=models.CharField(choices=[('fee', 'Fee'), ('credits', 'Credits'), ('overage', 'Overage'), ('arrears', 'Arrears'), ('shortfall', 'Shortfall')], max_length=12),
        ),
    ]
