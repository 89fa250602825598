from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import facts_with_state

TOTALS = (Path(__file__).parent / "sql" / "totals.sql").read_text()


class Migration(migrations.Migration):
    """Sums of rated usage, folded once from what is there; from now on its rows move them."""

    dependencies = [
        ('credits', '0002_guards'),
        ('metering', '0002_meter_event'),
    ]

    operations = [
        migrations.CreateModel(
            name='WindowRating',
            fields=[
                ('window', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='+', serialize=False, to='metering.usagewindow')),
                ('revision', models.IntegerField()),
                ('quantity', models.DecimalField(decimal_places=12, max_digits=50)),
                ('billing_period', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.billingperiod')),
                ('rate', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.rate')),
            ],
            options={
                'db_table': 'window_rating',
            },
        ),
        migrations.CreateModel(
            name='RateTotal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('quantity', models.DecimalField(decimal_places=12, max_digits=50)),
                ('charge', models.DecimalField(decimal_places=12, max_digits=50)),
                ('billing_period', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.billingperiod')),
                ('rate', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.rate')),
                ('workspace', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.workspace')),
            ],
            options={
                'db_table': 'rate_total',
                'constraints': [models.UniqueConstraint(fields=('billing_period', 'rate', 'workspace'), name='rate_total_once', nulls_distinct=False)],
            },
        ),
        migrations.RunSQL(
            TOTALS,
            "DROP TRIGGER only_facts_move ON rate_total; DROP TRIGGER only_facts_move ON window_rating;"
            " DROP TRIGGER follow_rated_usage ON rated_usage;"
            " DROP FUNCTION rated_usage_follow, rated_usage_only_facts_move",
        ),
        facts_with_state("window_rating", "rate_id", "revision", "quantity"),
        facts_with_state("rate_total", "quantity", "charge"),
    ]
