from django.db import migrations, models


class Migration(migrations.Migration):
    """Promises of shortfalls of commits."""

    dependencies = [
        ('revrec', '0007_whole_chart'),
    ]

    operations = [
        migrations.AlterField(
            model_name='performanceobligation',
            name='kind',
            field=models.CharField(choices=[('fee', 'Fee'), ('credits', 'Credits'), ('overage', 'Overage'), ('shortfall', 'Shortfall')], max_length=12),
        ),
    ]
