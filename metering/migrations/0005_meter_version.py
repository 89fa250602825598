from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import facts_with_state

_SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Meters are read by versions; the rule of each existing meter is its first one."""

    dependencies = [
        ('metering', '0004_import_run'),
        ('kernel', '0002_guards'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.RemoveConstraint(
            model_name='meter',
            name='meter_value_property_unless_count',
        ),
        migrations.CreateModel(
            name='MeterVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveSmallIntegerField()),
                ('event_name', models.CharField(db_index=True, max_length=100)),
                ('value_property', models.CharField(blank=True, max_length=100)),
                ('constant_value', models.DecimalField(blank=True, decimal_places=12, max_digits=36, null=True)),
                ('filters', models.JSONField(blank=True, default=list)),
                ('dimensions', models.JSONField(blank=True, default=list)),
                ('rounding_mode', models.CharField(choices=[('half_even', 'Half Even'), ('half_up', 'Half Up'), ('up', 'Up'), ('down', 'Down')], default='half_even', max_length=10)),
                ('rounding_decimals', models.PositiveSmallIntegerField(default=12)),
                ('effective_at', models.DateTimeField(blank=True, null=True)),
                ('reason', models.TextField(blank=True)),
                ('created_at', models.DateTimeField()),
                ('withdrawn_at', models.DateTimeField(blank=True, null=True)),
                ('withdrawal_reason', models.TextField(blank=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('meter', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='metering.meter')),
                ('withdrawn_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'meter_version',
                'ordering': ['meter', 'number'],
            },
        ),
        migrations.AddConstraint(
            model_name='meterversion',
            constraint=models.UniqueConstraint(fields=('meter', 'number'), name='meter_version_once'),
        ),
        migrations.AddConstraint(
            model_name='meterversion',
            constraint=models.UniqueConstraint(condition=models.Q(('withdrawn_at__isnull', True)), fields=('meter', 'effective_at'), name='meter_version_effective_once'),
        ),
        migrations.AddConstraint(
            model_name='meterversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('effective_at__isnull', True), ('number', 1)), models.Q(('created_by__isnull', False), ('effective_at__gt', models.F('created_at')), ('effective_at__isnull', False), ('number__gt', 1)), _connector='OR'), name='meter_version_later_ones_take_effect'),
        ),
        migrations.AddConstraint(
            model_name='meterversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('reason', ''), _negated=True), ('number', 1), _connector='OR'), name='meter_version_later_ones_say_why'),
        ),
        migrations.AddConstraint(
            model_name='meterversion',
            constraint=models.CheckConstraint(condition=models.Q(('value_property', ''), ('constant_value__isnull', True), _connector='OR'), name='meter_version_one_value'),
        ),
        migrations.AddConstraint(
            model_name='meterversion',
            constraint=models.CheckConstraint(condition=models.Q(('constant_value__isnull', True), models.Q(('constant_value__gte', 0), ('constant_value__lt', 1000000000000000000000000)), _connector='OR'), name='meter_version_constant_bounds'),
        ),
        migrations.AddConstraint(
            model_name='meterversion',
            constraint=models.CheckConstraint(condition=models.Q(('rounding_decimals__lte', 12)), name='meter_version_rounding_decimals'),
        ),
        migrations.AddConstraint(
            model_name='meterversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('withdrawal_reason', ''), ('withdrawn_at__isnull', True), ('withdrawn_by__isnull', True)), models.Q(('effective_at__isnull', False), ('withdrawn_at__isnull', False), ('withdrawn_at__lt', models.F('effective_at')), ('withdrawn_by__isnull', False), models.Q(('withdrawal_reason', ''), _negated=True)), _connector='OR'), name='meter_version_withdrawn_before_effect'),
        ),
        migrations.RunSQL(
            (_SQL / "first_versions.sql").read_text(),
            (_SQL / "meters_without_versions.sql").read_text(),
        ),
        migrations.RunSQL(
            (_SQL / "meter_version.sql").read_text(),
            "DROP TRIGGER keep_order ON meter_version; DROP FUNCTION meter_version_in_order;"
            " DROP FUNCTION meter_round",
        ),
        facts_with_state(
            "meter_version", "withdrawn_at", "withdrawn_by_id", "withdrawal_reason"
        ),
    ]
