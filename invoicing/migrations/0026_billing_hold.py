import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, facts_with_state, joins_own_change


class Migration(migrations.Migration):
    """What billing holds until a person lets it go, and the limits that say so."""

    dependencies = [
        ('invoicing', '0025_market_guard'),
        ('kernel', '0009_own_search_path'),
        ('metering', '0024_backfill_preview'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='BillingHold',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject', models.CharField(max_length=60)),
                ('cause', models.CharField(choices=[('approval', 'the policy asks for an approval'), ('incomplete', 'usage of its period is not billed and not excluded'), ('bounds', 'larger than a run may make'), ('fault', 'it could not be made')], max_length=10)),
                ('detail', models.CharField(max_length=500)),
                ('opened_at', models.DateTimeField()),
                ('released_at', models.DateTimeField(blank=True, null=True)),
                ('release_reason', models.CharField(blank=True, max_length=500)),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('invoice', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='holds', to='invoicing.invoice')),
                ('released_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'billing_hold',
                'ordering': ['-id'],
                'permissions': [('release_billinghold', 'Can release what billing holds in doubt'), ('approve_invoice', 'Can approve an invoice that the policy holds')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('released_at__isnull', True)), fields=('subject',), name='billing_hold_one_open'), models.CheckConstraint(condition=models.Q(models.Q(('release_reason', ''), ('released_at__isnull', True), ('released_by__isnull', True)), models.Q(('release_reason__gt', ''), ('released_at__isnull', False), ('released_by__isnull', False)), _connector='OR'), name='billing_hold_released_by_someone')],
            },
        ),
        migrations.CreateModel(
            name='InvoicePolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(unique=True)),
                ('approval_above', models.JSONField()),
                ('approves_first', models.BooleanField()),
                ('notes_above', models.JSONField()),
                ('most_lines', models.PositiveIntegerField()),
                ('most_drafts', models.PositiveIntegerField()),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
            ],
            options={
                'verbose_name_plural': 'invoice policies',
                'db_table': 'invoice_policy',
                'ordering': ['-number'],
                'constraints': [models.CheckConstraint(condition=models.Q(('most_drafts__gt', 0), ('most_lines__gt', 0)), name='invoice_policy_bounds')],
            },
        ),
        facts_with_state("billing_hold", "released_at", "released_by_id", "release_reason"),
        append_only("invoice_policy"),
        joins_own_change("invoice_policy", "invoice_policy"),
    ]
