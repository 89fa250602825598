import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, facts_with_state


class Migration(migrations.Migration):
    """Webhooks out: endpoints and their secrets, what happened, and who was told of it."""

    dependencies = [
        ('kernel', '0009_own_search_path'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('message_id', models.CharField(max_length=40, unique=True)),
                ('kind', models.CharField(max_length=40)),
                ('at', models.DateTimeField(db_index=True)),
                ('body', models.TextField(help_text='Exactly as sent: JSON.')),
                ('source_key', models.CharField(max_length=200, unique=True)),
            ],
            options={
                'db_table': 'webhook_event',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='WebhookEndpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('url', models.CharField(max_length=1000)),
                ('description', models.CharField(blank=True, max_length=200)),
                ('events', models.JSONField()),
                ('created_at', models.DateTimeField()),
                ('failing_since', models.DateTimeField(blank=True, null=True)),
                ('disabled_at', models.DateTimeField(blank=True, null=True)),
                ('disabled_reason', models.CharField(blank=True, max_length=300)),
                ('told_at', models.DateTimeField(blank=True, null=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'webhook_endpoint',
                'ordering': ['-id'],
                'permissions': [('manage_webhookendpoint', 'Can say who is told by webhook, and repeat it')],
            },
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('queued_at', models.DateTimeField()),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('next_try_at', models.DateTimeField(blank=True, null=True)),
                ('last_tried_at', models.DateTimeField(blank=True, null=True)),
                ('delivered_at', models.DateTimeField(blank=True, null=True)),
                ('given_up_at', models.DateTimeField(blank=True, null=True)),
                ('status', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('failure', models.CharField(blank=True, max_length=300)),
                ('endpoint', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='kernel.webhookendpoint')),
                ('event', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='kernel.webhookevent')),
            ],
            options={
                'verbose_name_plural': 'webhook deliveries',
                'db_table': 'webhook_delivery',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='WebhookSecret',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('nonce', models.CharField(max_length=64, unique=True)),
                ('sha256', models.CharField(max_length=64)),
                ('made_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField(blank=True, null=True)),
                ('endpoint', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='secrets', to='kernel.webhookendpoint')),
                ('made_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'webhook_secret',
                'ordering': ['-id'],
            },
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.UniqueConstraint(fields=('url',), name='webhook_endpoint_once'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('disabled_at__isnull', True), ('disabled_reason', '')), models.Q(('disabled_at__isnull', False), ('disabled_reason__gt', '')), _connector='OR'), name='webhook_endpoint_disabled_for_a_reason'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('next_try_at__isnull', False)), fields=['endpoint', 'next_try_at'], name='webhook_delivery_due'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('given_up_at__isnull', False)), fields=['given_up_at'], name='webhook_delivery_given_up'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.UniqueConstraint(fields=('event', 'endpoint'), name='webhook_delivery_once'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('delivered_at__isnull', True), ('given_up_at__isnull', True), ('next_try_at__isnull', False)), models.Q(('delivered_at__isnull', False), ('given_up_at__isnull', True), ('next_try_at__isnull', True)), models.Q(('delivered_at__isnull', True), ('given_up_at__isnull', False), ('next_try_at__isnull', True)), _connector='OR'), name='webhook_delivery_one_state'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(('delivered_at__isnull', True), models.Q(('attempts__gt', 0), ('last_tried_at__lte', models.F('delivered_at'))), _connector='OR'), name='webhook_delivery_tried_before'),
        ),
        facts_with_state(
            "webhook_endpoint", "url", "description", "events", "owner_id", "failing_since",
            "disabled_at", "disabled_reason", "told_at",
        ),
        facts_with_state("webhook_secret", "ends_at"),
        append_only("webhook_event"),
        facts_with_state(
            "webhook_delivery", "attempts", "next_try_at", "last_tried_at", "delivered_at",
            "given_up_at", "status", "failure",
        ),
    ]
