import django.db.models.deletion
import django.db.models.lookups
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import facts_with_state


class Migration(migrations.Migration):
    """Stretches in which usage was counted too late."""

    dependencies = [
        ('metering', '0009_quarantine_workbench'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='LagEpisode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('opened_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('worst_lag_seconds', models.DecimalField(decimal_places=6, max_digits=20)),
                ('worst_at', models.DateTimeField()),
                ('told_at', models.DateTimeField(blank=True, null=True)),
                ('acknowledged_at', models.DateTimeField(blank=True, null=True)),
                ('note', models.TextField(blank=True)),
                ('acknowledged_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'lag_episode',
                'ordering': ['-id'],
                'permissions': [('acknowledge_lagepisode', 'Can acknowledge that aggregation lags')],
                'constraints': [models.UniqueConstraint(django.db.models.lookups.IsNull(models.F('closed_at'), True), condition=models.Q(('closed_at__isnull', True)), name='lag_episode_one_open'), models.CheckConstraint(condition=models.Q(('closed_at__isnull', True), ('closed_at__gte', models.F('opened_at')), _connector='OR'), name='lag_episode_closed_after_opened'), models.CheckConstraint(condition=models.Q(('worst_lag_seconds__gt', 0), ('worst_lag_seconds__lt', 1000000000000)), name='lag_episode_worst_bounds')],
            },
        ),
        facts_with_state(
            "lag_episode",
            "closed_at",
            "worst_lag_seconds",
            "worst_at",
            "told_at",
            "acknowledged_at",
            "acknowledged_by_id",
            "note",
        ),
    ]
