from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

import metering.exact

from billing_project.kernel.guards import append_only, facts_with_state

TABLE = (Path(__file__).parent / "sql" / "meter_event.sql").read_text()


class Migration(migrations.Migration):
    """The partitioned table of raw events."""

    dependencies = [("metering", "0001_initial"), ("kernel", "0002_guards")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    TABLE,
                    "DROP TRIGGER aggregate_once ON event_batch;"
                    " DROP FUNCTION event_batch_aggregate_once;"
                    " DROP FUNCTION meter_quantity; DROP VIEW used_meter_event;"
                    " DROP FUNCTION meter_event_ensure_partition; DROP TABLE meter_event",
                )
            ],
            state_operations=[
                migrations.CreateModel(
                    name='MeterEvent',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('event_name', models.CharField(max_length=100)),
                        ('identifier', models.CharField(max_length=128)),
                        ('timestamp', models.DateTimeField()),
                        ('properties', models.JSONField(decoder=metering.exact.ExactDecoder)),
                        ('received_at', models.DateTimeField()),
                        ('batch_id', models.BigIntegerField()),
                        ('customer', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                        ('workspace', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.workspace')),
                    ],
                    options={
                        'db_table': 'meter_event',
                        'permissions': [('adjust_meterevent', 'Can cancel or amend a meter event')],
                    },
                ),
            ],
        ),
        append_only("meter_event"),
        append_only("event_identity"),
        append_only("meter_event_adjustment"),
        append_only("customer_alias"),
        append_only("customer_history"),
        append_only("workspace_history"),
        append_only("meter_history"),
        facts_with_state("customer", "name", "time_zone", "country", "email"),
        facts_with_state("workspace", "name"),
        facts_with_state("meter", "name"),
        facts_with_state("event_batch", "aggregated_at"),
        facts_with_state(
            "quarantined_event", "state", "resolved_at", "resolved_by_id", "resolution"
        ),
    ]
