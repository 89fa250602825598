import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import facts_with_state


class Migration(migrations.Migration):
    """How far each customer's books have come."""

    dependencies = [
        ('metering', '0012_backfill'),
        ('revrec', '0003_chart_of_accounts'),
    ]

    operations = [
        migrations.CreateModel(
            name='BooksMark',
            fields=[
                ('customer', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='+', serialize=False, to='metering.customer')),
                ('through_transaction', models.BigIntegerField(default=0)),
                ('through_usage', models.BigIntegerField(default=0)),
            ],
            options={
                'db_table': 'books_mark',
            },
        ),
        migrations.CreateModel(
            name='UsedCredits',
            fields=[
                ('obligation', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='+', serialize=False, to='revrec.performanceobligation')),
                ('credits', models.DecimalField(decimal_places=12, max_digits=38)),
            ],
            options={
                'verbose_name_plural': 'used credits',
                'db_table': 'used_credits',
            },
        ),
        facts_with_state("books_mark", "through_transaction", "through_usage"),
        facts_with_state("used_credits", "credits"),
    ]
