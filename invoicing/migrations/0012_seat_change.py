from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import facts_with_state, own_search_path

SEATS = (Path(__file__).parent / "sql" / "seats.sql").read_text()


class Migration(migrations.Migration):
    """Seats: facts with their instant, never fewer than none."""

    dependencies = [
        ('invoicing', '0011_plan_item'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SeatChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('seats', models.IntegerField()),
                ('effective_at', models.DateTimeField()),
                ('reason', models.CharField(blank=True, max_length=200)),
                ('source_key', models.CharField(max_length=120, unique=True)),
                ('settled_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField()),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('subscription', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='seats', to='invoicing.subscription')),
            ],
            options={
                'db_table': 'seat_change',
                'ordering': ['subscription', 'effective_at', 'id'],
                'indexes': [models.Index(condition=models.Q(('settled_at__isnull', True)), fields=['effective_at'], name='seat_change_due')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('seats', 0), _negated=True), ('seats__gte', -1000000), ('seats__lte', 1000000)), name='seat_change_bounds')],
            },
        ),
        facts_with_state("seat_change", "settled_at"),
        migrations.RunSQL(
            SEATS,
            "DROP TRIGGER never_negative ON seat_change; DROP FUNCTION seat_change_never_negative",
        ),
        own_search_path("seat_change_never_negative"),
    ]
