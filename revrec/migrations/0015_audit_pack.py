import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import facts_with_state


class Migration(migrations.Migration):
    """Files with everything behind a span or some invoices, for auditors."""

    dependencies = [
        ('metering', '0026_stable_used_meter_event'),
        ('revrec', '0014_estimates'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditPack',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('start_at', models.DateTimeField(blank=True, null=True)),
                ('end_at', models.DateTimeField(blank=True, null=True)),
                ('invoices', models.JSONField(blank=True, default=list)),
                ('reason', models.CharField(max_length=500)),
                ('source_key', models.CharField(max_length=120, unique=True)),
                ('asked_at', models.DateTimeField()),
                ('state', models.CharField(choices=[('waiting', 'Waiting'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed')], default='waiting', max_length=8)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('files_done', models.PositiveSmallIntegerField(default=0)),
                ('file_count', models.PositiveSmallIntegerField(default=0)),
                ('row_count', models.BigIntegerField(default=0)),
                ('byte_count', models.BigIntegerField(default=0)),
                ('content_sha256', models.CharField(blank=True, max_length=64)),
                ('fault', models.CharField(blank=True, max_length=500)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('asked_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('customer', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
            ],
            options={
                'db_table': 'audit_pack',
                'ordering': ['-id'],
                'permissions': [('make_auditpack', 'Can make an audit pack')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('end_at__gt', models.F('start_at')), ('end_at__isnull', False), ('invoices', []), ('start_at__isnull', False)), models.Q(('customer__isnull', True), ('end_at__isnull', True), ('start_at__isnull', True), models.Q(('invoices', []), _negated=True)), _connector='OR'), name='audit_pack_span_or_invoices'), models.CheckConstraint(condition=models.Q(models.Q(('fault', ''), ('finished_at__isnull', False), ('state', 'done'), models.Q(('content_sha256', ''), _negated=True)), models.Q(('content_sha256', ''), ('finished_at__isnull', False), ('state', 'failed'), models.Q(('fault', ''), _negated=True)), models.Q(('fault', ''), ('finished_at__isnull', True), ('state__in', ['waiting', 'running'])), _connector='OR'), name='audit_pack_ends_once')],
            },
        ),
        facts_with_state(
            "audit_pack", "state", "attempts", "files_done", "file_count", "row_count", "byte_count",
            "content_sha256", "fault", "finished_at",
        ),
    ]
