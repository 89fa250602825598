import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import facts_with_state, joins_own_change, needs_proposed


class Migration(migrations.Migration):
    """Files of opening balances, and the items that each brings along."""

    dependencies = [
        ('invoicing', '0046_commitment_line'),
        ('kernel', '0013_policy_evidence'),
    ]

    operations = [
        migrations.CreateModel(
            name='OpeningImport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(max_length=40)),
                ('name', models.CharField(max_length=255)),
                ('content_sha256', models.CharField(max_length=64)),
                ('state', models.CharField(choices=[('open', 'Open'), ('applied', 'Applied'), ('closed', 'Closed')], default='open', max_length=7)),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
            ],
            options={
                'db_table': 'opening_import',
                'ordering': ['-id'],
                'permissions': [('import_openings', 'Can import opening balances')],
            },
        ),
        migrations.CreateModel(
            name='OpeningItem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('line', models.PositiveIntegerField()),
                ('source', models.CharField(max_length=40)),
                ('kind', models.CharField(max_length=12)),
                ('source_id', models.CharField(max_length=140)),
                ('customer', models.CharField(max_length=128)),
                ('content', models.JSONField()),
                ('state', models.CharField(choices=[('waiting', 'Waiting'), ('done', 'Done'), ('failed', 'Failed'), ('closed', 'Closed')], default='waiting', max_length=7)),
                ('detail', models.CharField(blank=True, max_length=500)),
                ('made', models.CharField(blank=True, max_length=80)),
                ('done_at', models.DateTimeField(blank=True, null=True)),
                ('opening_import', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='items', to='invoicing.openingimport')),
            ],
            options={
                'db_table': 'opening_item',
                'ordering': ['opening_import', 'id'],
            },
        ),
        migrations.AddConstraint(
            model_name='openingimport',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', True), ('state', 'open')), models.Q(('closed_at__isnull', False), ('state__in', ['applied', 'closed'])), _connector='OR'), name='opening_import_ends_once'),
        ),
        migrations.AddConstraint(
            model_name='openingimport',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'closed'), _negated=True), fields=('source', 'content_sha256'), name='opening_import_once'),
        ),
        migrations.AddConstraint(
            model_name='openingitem',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'closed'), _negated=True), fields=('source', 'kind', 'source_id'), name='opening_item_once'),
        ),
        migrations.AddConstraint(
            model_name='openingitem',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('detail', ''), ('done_at__isnull', True), ('made', ''), ('state', 'waiting')), models.Q(('done_at__isnull', False), ('state', 'done')), models.Q(('made', ''), ('state', 'failed'), models.Q(('detail', ''), _negated=True)), models.Q(('made', ''), ('state', 'closed')), _connector='OR'), name='opening_item_state'),
        ),
        facts_with_state("opening_import", "state", "closed_at"),
        joins_own_change("opening_import", "opening_balances"),
        facts_with_state("opening_item", "state", "detail", "made", "done_at"),
        needs_proposed("opening_item", "opening_import_id", "opening_import"),
    ]
