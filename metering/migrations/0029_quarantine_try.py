from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import (
    ROW,
    TRUNCATE,
    append_only,
    facts_with_state,
    own_search_path,
)

SQL = Path(__file__).parent / "sql"
COLUMNS = ("state", "resolved_at", "resolved_by_id", "resolution")
NO_GUARD = (
    f"DROP TRIGGER {ROW} ON quarantined_event; DROP TRIGGER {TRUNCATE} ON quarantined_event"
)


class Migration(migrations.Migration):
    """What an event waits for now, beside the tries that found it."""

    dependencies = [
        ('metering', '0028_customer_locale'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name='quarantinedevent',
            name='reason',
            field=models.CharField(choices=[('unknown_customer', 'Unknown Customer'), ('unknown_event_name', 'Unknown Event Name'), ('missing_value', 'Missing Value'), ('invalid_value', 'Invalid Value'), ('identifier_conflict', 'Identifier Conflict'), ('period_closed', 'Period Closed')], max_length=30),
        ),
        migrations.CreateModel(
            name='QuarantineTry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason_before', models.CharField(choices=[('unknown_customer', 'Unknown Customer'), ('unknown_event_name', 'Unknown Event Name'), ('missing_value', 'Missing Value'), ('invalid_value', 'Invalid Value'), ('identifier_conflict', 'Identifier Conflict'), ('period_closed', 'Period Closed')], max_length=30)),
                ('detail_before', models.TextField(blank=True)),
                ('reason', models.CharField(choices=[('unknown_customer', 'Unknown Customer'), ('unknown_event_name', 'Unknown Event Name'), ('missing_value', 'Missing Value'), ('invalid_value', 'Invalid Value'), ('identifier_conflict', 'Identifier Conflict'), ('period_closed', 'Period Closed')], max_length=30)),
                ('detail', models.TextField(blank=True)),
                ('tried_at', models.DateTimeField()),
                ('event', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tries', to='metering.quarantinedevent')),
                ('tried_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'quarantine tries',
                'db_table': 'quarantine_try',
                'ordering': ['-id'],
            },
        ),
        append_only("quarantine_try"),
        migrations.RunSQL(NO_GUARD, facts_with_state("quarantined_event", *COLUMNS).sql),
        facts_with_state("quarantined_event", *COLUMNS, "reason", "detail"),
        migrations.RunSQL(
            (SQL / "quarantine_try.sql").read_text(), (SQL / "quarantine_try_back.sql").read_text()
        ),
        own_search_path("quarantined_event_reason_of_try"),
    ]
