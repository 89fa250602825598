import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """The levels that time-weighted sums go on from."""

    dependencies = [('metering', '0006_meter_read_by_versions')]
    operations = [
        migrations.CreateModel(
            name='UsageLevel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('dimensions', models.JSONField()),
                ('dimensions_key', models.CharField(max_length=64)),
                ('level', models.DecimalField(decimal_places=12, max_digits=36)),
                ('settled_until', models.DateTimeField()),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('meter', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.meter')),
                ('workspace', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.workspace')),
            ],
            options={
                'db_table': 'usage_level',
            },
        ),
        migrations.AddIndex(
            model_name='usagelevel',
            index=models.Index(condition=models.Q(('level__gt', 0)), fields=['settled_until'], name='usage_level_going_on'),
        ),
        migrations.AddConstraint(
            model_name='usagelevel',
            constraint=models.UniqueConstraint(fields=('customer', 'meter', 'workspace', 'dimensions_key'), name='usage_level_once', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='usagelevel',
            constraint=models.CheckConstraint(condition=models.Q(('level__gte', 0), ('level__lt', 1000000000000000000000000)), name='usage_level_bounds'),
        ),
    ]
