import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import facts_with_state

_STATE = "'here', 'there', 'last_seen_at', 'resolved_at'"


def _keeping(columns):
    return [
        "DROP TRIGGER keep_rows ON stripe_difference",
        "CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON stripe_difference FOR EACH ROW"
        f" EXECUTE FUNCTION kernel_refuse_other_changes({columns})",
        "ALTER TABLE stripe_difference ENABLE ALWAYS TRIGGER keep_rows",
    ]


class Migration(migrations.Migration):
    """Events that could not take effect, and differences that finance explained."""

    dependencies = [
        ('invoicing', '0038_short_payment'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ParkedEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stripe_id', models.CharField(max_length=100, unique=True)),
                ('type', models.CharField(max_length=100)),
                ('object_id', models.CharField(max_length=100)),
                ('reason', models.CharField(choices=[('unknown_object', 'Unknown Object'), ('elsewhere', 'Elsewhere'), ('does_not_fit', 'Does Not Fit')], max_length=20)),
                ('detail', models.CharField(max_length=300)),
                ('owner', models.CharField(max_length=20)),
                ('delivery_count', models.PositiveIntegerField(default=0)),
                ('first_at', models.DateTimeField()),
                ('last_at', models.DateTimeField()),
                ('parked_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'db_table': 'parked_event',
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='stripedifference',
            name='explained_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='stripedifference',
            name='explanation',
            field=models.CharField(blank=True, max_length=500),
        ),
        migrations.AddConstraint(
            model_name='stripedifference',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('explained_by__isnull', True), ('explanation', '')), models.Q(models.Q(('explanation', ''), _negated=True), ('explained_by__isnull', False), ('resolved_at__isnull', False)), _connector='OR'), name='stripe_difference_explained'),
        ),
        facts_with_state(
            "parked_event", "reason", "detail", "owner", "delivery_count", "last_at", "parked_at"
        ),
        migrations.RunSQL(
            _keeping(f"{_STATE}, 'explanation', 'explained_by_id'"), _keeping(_STATE)
        ),
    ]
