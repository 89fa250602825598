import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, facts_with_state


class Migration(migrations.Migration):
    """Anomalies, planned activities, incidents with their evidence, weekly checkpoints."""

    dependencies = [
        ('credits', '0022_alert_rule'),
        ('metering', '0028_customer_locale'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name='alert',
            name='kind',
            field=models.CharField(choices=[('spend_limit', 'Spend Limit'), ('forecast', 'Forecast'), ('balance', 'Balance'), ('spend', 'Spend'), ('usage', 'Usage'), ('change', 'Change'), ('unrated', 'Unrated'), ('quarantined', 'Quarantined'), ('lag', 'Lag'), ('anomaly', 'Anomaly'), ('recharge', 'Recharge')], max_length=16),
        ),
        migrations.CreateModel(
            name='Anomaly',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('pattern', models.CharField(choices=[('spike', 'Spike'), ('retry_loop', 'Retry Loop'), ('model_switch', 'Model Switch'), ('new_key', 'New Key'), ('silence', 'Silence')], max_length=12)),
                ('start_at', models.DateTimeField()),
                ('end_at', models.DateTimeField()),
                ('observed', models.DecimalField(decimal_places=12, max_digits=38)),
                ('expected', models.DecimalField(decimal_places=12, max_digits=38)),
                ('score', models.DecimalField(decimal_places=2, max_digits=12)),
                ('causes', models.JSONField(default=list)),
                ('impact_minor', models.BigIntegerField(blank=True, null=True)),
                ('currency', models.CharField(blank=True, default='', max_length=3)),
                ('detected_at', models.DateTimeField()),
                ('feedback', models.CharField(blank=True, choices=[('', 'not said yet'), ('real', 'Real'), ('expected', 'Expected'), ('false_alarm', 'False Alarm')], default='', max_length=11)),
                ('feedback_note', models.TextField(blank=True)),
                ('feedback_at', models.DateTimeField(blank=True, null=True)),
                ('source_key', models.CharField(max_length=120, unique=True)),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('feedback_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('pricing_unit', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.pricingunit')),
            ],
            options={
                'verbose_name_plural': 'anomalies',
                'db_table': 'anomaly',
                'ordering': ['-id'],
                'permissions': [('manage_anomaly', 'Can look after anomalies and incidents')],
            },
        ),
        migrations.CreateModel(
            name='ControlCheckpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('start_on', models.DateField(unique=True)),
                ('end_on', models.DateField()),
                ('document', models.JSONField()),
                ('document_sha256', models.CharField(max_length=64)),
                ('prepared_at', models.DateTimeField()),
                ('signed_at', models.DateTimeField(blank=True, null=True)),
                ('note', models.TextField(blank=True)),
                ('prepared_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('signed_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'control_checkpoint',
                'ordering': ['-start_on'],
                'permissions': [('sign_controlcheckpoint', 'Can sign the weekly checkpoint of controls')],
            },
        ),
        migrations.CreateModel(
            name='Incident',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('title', models.CharField(max_length=200)),
                ('start_at', models.DateTimeField()),
                ('end_at', models.DateTimeField()),
                ('state', models.CharField(choices=[('open', 'Open'), ('contained', 'Contained'), ('resolved', 'Resolved')], default='open', max_length=9)),
                ('opened_at', models.DateTimeField()),
                ('resolution', models.TextField(blank=True)),
                ('resolved_at', models.DateTimeField(blank=True, null=True)),
                ('source_key', models.CharField(max_length=120, unique=True)),
                ('anomaly', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='incident', to='credits.anomaly')),
                ('customer', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('opened_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('resolved_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'incident',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='IncidentAction',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('what', models.TextField()),
                ('at', models.DateTimeField()),
                ('by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('incident', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='actions', to='credits.incident')),
            ],
            options={
                'db_table': 'incident_action',
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='IncidentEvidence',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('pdf', models.BinaryField()),
                ('pdf_sha256', models.BinaryField(max_length=32)),
                ('archive', models.BinaryField()),
                ('archive_sha256', models.BinaryField(max_length=32)),
                ('files', models.JSONField(default=list)),
                ('made_at', models.DateTimeField()),
                ('incident', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='evidence', to='credits.incident')),
                ('made_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'incident evidence',
                'db_table': 'incident_evidence',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='PlannedActivity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('start_at', models.DateTimeField()),
                ('end_at', models.DateTimeField()),
                ('reason', models.TextField()),
                ('planned_at', models.DateTimeField()),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('planned_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'planned activities',
                'db_table': 'planned_activity',
                'ordering': ['-id'],
            },
        ),
        migrations.AddIndex(
            model_name='anomaly',
            index=models.Index(fields=['customer', 'pattern', 'end_at'], name='anomaly_episode'),
        ),
        migrations.AddConstraint(
            model_name='anomaly',
            constraint=models.CheckConstraint(condition=models.Q(('end_at__gt', models.F('start_at'))), name='anomaly_half_open'),
        ),
        migrations.AddConstraint(
            model_name='anomaly',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('feedback', ''), ('feedback_at__isnull', True), ('feedback_by__isnull', True)), models.Q(models.Q(('feedback', ''), _negated=True), ('feedback_at__isnull', False), ('feedback_by__isnull', False)), _connector='OR'), name='anomaly_feedback_by_someone'),
        ),
        migrations.AddConstraint(
            model_name='controlcheckpoint',
            constraint=models.CheckConstraint(condition=models.Q(('end_on__gt', models.F('start_on'))), name='control_checkpoint_half_open'),
        ),
        migrations.AddConstraint(
            model_name='controlcheckpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('signed_at__isnull', True), ('signed_by__isnull', True)), models.Q(('signed_at__isnull', False), ('signed_by__isnull', False)), _connector='OR'), name='control_checkpoint_signed_by_someone'),
        ),
        migrations.AddConstraint(
            model_name='incident',
            constraint=models.CheckConstraint(condition=models.Q(('end_at__gt', models.F('start_at'))), name='incident_half_open'),
        ),
        migrations.AddConstraint(
            model_name='incident',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('resolved_at__isnull', False), ('resolved_by__isnull', False), ('state', 'resolved'), models.Q(('resolution', ''), _negated=True)), models.Q(('resolution', ''), ('resolved_at__isnull', True), ('resolved_by__isnull', True), ('state__in', ['open', 'contained'])), _connector='OR'), name='incident_resolved_by_someone'),
        ),
        migrations.AddConstraint(
            model_name='incidentevidence',
            constraint=models.CheckConstraint(condition=models.Q(('archive_sha256', models.Func(models.F('archive'), function='sha256', output_field=models.BinaryField())), ('pdf_sha256', models.Func(models.F('pdf'), function='sha256', output_field=models.BinaryField()))), name='incident_evidence_sha256'),
        ),
        migrations.AddConstraint(
            model_name='plannedactivity',
            constraint=models.CheckConstraint(condition=models.Q(('end_at__gt', models.F('start_at'))), name='planned_activity_half_open'),
        ),
        append_only("planned_activity"),
        append_only("incident_action"),
        append_only("incident_evidence"),
        facts_with_state(
            "anomaly", "end_at", "observed", "expected", "score", "causes", "impact_minor",
            "currency", "owner_id", "feedback", "feedback_note", "feedback_by_id", "feedback_at",
        ),
        facts_with_state(
            "incident", "owner_id", "state", "resolution", "resolved_by_id", "resolved_at",
        ),
        facts_with_state("control_checkpoint", "signed_by_id", "signed_at", "note"),
    ]
