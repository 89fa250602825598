import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, facts_with_state


class Migration(migrations.Migration):
    """What suppliers charge, and stretches in which usage had no rate."""

    dependencies = [
        ('credits', '0006_grant_terms'),
        ('metering', '0014_quarantined_event_identifier'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SupplierRate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('supplier', models.CharField(max_length=64)),
                ('model', models.CharField(max_length=128)),
                ('token_kind', models.CharField(choices=[('input', 'Input'), ('cached_input', 'Cached Input'), ('cache_write', 'Cache Write'), ('output', 'Output')], max_length=12)),
                ('unit_price', models.DecimalField(decimal_places=18, max_digits=38)),
                ('currency', models.CharField(max_length=3)),
                ('effective_at', models.DateTimeField()),
                ('source', models.CharField(max_length=200)),
                ('recorded_at', models.DateTimeField()),
                ('recorded_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'supplier_rate',
                'ordering': ['model', 'token_kind', '-effective_at', '-id'],
                'constraints': [models.UniqueConstraint(fields=('supplier', 'model', 'token_kind', 'effective_at'), name='supplier_rate_once'), models.CheckConstraint(condition=models.Q(('unit_price__gte', 0), ('unit_price__lt', 1000000000000000)), name='supplier_rate_unit_price_bounds'), models.CheckConstraint(condition=models.Q(('currency__regex', '^[A-Z]{3}$')), name='supplier_rate_currency_code')],
            },
        ),
        migrations.CreateModel(
            name='UnratedEpisode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('model', models.CharField(blank=True, max_length=400)),
                ('dimensions', models.JSONField(default=dict)),
                ('first_used_at', models.DateTimeField()),
                ('opened_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('seen_at', models.DateTimeField()),
                ('window_count', models.BigIntegerField()),
                ('quantity', models.DecimalField(decimal_places=12, max_digits=50)),
                ('customer_count', models.IntegerField()),
                ('told_at', models.DateTimeField(blank=True, null=True)),
                ('acknowledged_at', models.DateTimeField(blank=True, null=True)),
                ('note', models.TextField(blank=True)),
                ('acknowledged_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('meter', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.meter')),
            ],
            options={
                'db_table': 'unrated_episode',
                'ordering': ['-id'],
                'permissions': [('acknowledge_unratedepisode', 'Can acknowledge usage without a rate')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('closed_at__isnull', True)), fields=('meter', 'model'), name='unrated_episode_one_open'), models.CheckConstraint(condition=models.Q(('closed_at__isnull', True), ('closed_at__gte', models.F('opened_at')), _connector='OR'), name='unrated_episode_closed_after_opened'), models.CheckConstraint(condition=models.Q(('customer_count__gt', 0), ('quantity__gte', 0), ('window_count__gt', 0), ('quantity__lt', 100000000000000000000000000000000000000)), name='unrated_episode_bounds')],
            },
        ),
        append_only("supplier_rate"),
        facts_with_state(
            "unrated_episode",
            "closed_at",
            "seen_at",
            "window_count",
            "quantity",
            "customer_count",
            "told_at",
            "acknowledged_at",
            "acknowledged_by_id",
            "note",
        ),
    ]
