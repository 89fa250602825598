from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, facts_with_state

GROUP = (Path(__file__).parent / "sql" / "quarantine_group.sql").read_text()

class Migration(migrations.Migration):
    """Groups of what waits, who answers for them, and work on whole groups."""

    dependencies = [
        ('metering', '0008_window_repair'),
        ('kernel', '0002_guards'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='QuarantineGroup',
            fields=[
                ('id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('reason', models.CharField(max_length=30)),
                ('missing', models.CharField(max_length=400)),
                ('event_count', models.BigIntegerField()),
                ('customer_count', models.BigIntegerField()),
                ('event_name_count', models.BigIntegerField()),
                ('first_seen_at', models.DateTimeField()),
                ('last_seen_at', models.DateTimeField()),
                ('role', models.CharField(choices=[('support', 'Support'), ('engineering', 'Engineering'), ('product', 'Product'), ('finance_maker', 'Finance Maker')], max_length=20, verbose_name='owner')),
            ],
            options={
                'verbose_name': 'quarantine group',
                'db_table': 'quarantine_group',
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='QuarantineAssignment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(max_length=30)),
                ('missing', models.CharField(max_length=400)),
                ('role', models.CharField(choices=[('support', 'Support'), ('engineering', 'Engineering'), ('product', 'Product'), ('finance_maker', 'Finance Maker')], max_length=20)),
                ('note', models.TextField(blank=True)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'quarantine_assignment',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='QuarantineRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('replay', 'Replay'), ('dismiss', 'Dismiss')], max_length=10)),
                ('reason', models.CharField(max_length=30)),
                ('missing', models.CharField(max_length=400)),
                ('words', models.TextField(blank=True)),
                ('event_count', models.IntegerField()),
                ('last_id', models.BigIntegerField()),
                ('done_id', models.BigIntegerField(default=0)),
                ('tried_count', models.IntegerField(default=0)),
                ('closed_count', models.IntegerField(default=0)),
                ('requested_at', models.DateTimeField()),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'db_table': 'quarantine_run',
                'ordering': ['-id'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='quarantinedevent',
            name='quarantined_event_resolved_at',
        ),
        migrations.AlterField(
            model_name='quarantinedevent',
            name='state',
            field=models.CharField(choices=[('open', 'Open'), ('replayed', 'Replayed'), ('amended', 'Amended'), ('dismissed', 'Dismissed')], default='open', max_length=10),
        ),
        migrations.AddConstraint(
            model_name='quarantinedevent',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('resolved_at__isnull', True), ('state', 'open')), models.Q(('resolved_at__isnull', False), ('state__in', ['replayed', 'amended', 'dismissed'])), _connector='OR'), name='quarantined_event_resolved_at'),
        ),
        migrations.AddField(
            model_name='quarantineassignment',
            name='created_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='quarantineassignment',
            name='person',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='quarantinerun',
            name='requested_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='quarantineassignment',
            index=models.Index(fields=['reason', 'missing', '-id'], name='quarantine_assignment_group'),
        ),
        migrations.AddConstraint(
            model_name='quarantinerun',
            constraint=models.UniqueConstraint(condition=models.Q(('finished_at__isnull', True)), fields=('reason', 'missing'), name='quarantine_run_one_at_a_time'),
        ),
        migrations.AddConstraint(
            model_name='quarantinerun',
            constraint=models.CheckConstraint(condition=models.Q(('closed_count__lte', models.F('tried_count')), ('tried_count__gte', 0)), name='quarantine_run_counts'),
        ),
        migrations.RunSQL(
            GROUP,
            "DROP VIEW quarantine_group; DROP INDEX quarantined_event_open_group;"
            " DROP FUNCTION quarantine_role; DROP FUNCTION quarantine_missing",
        ),
        append_only("quarantine_assignment"),
        facts_with_state(
            "quarantine_run", "done_id", "tried_count", "closed_count", "finished_at"
        ),
    ]
