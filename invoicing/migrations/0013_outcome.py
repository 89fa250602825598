from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, own_search_path

OUTCOMES = (Path(__file__).parent / "sql" / "outcomes.sql").read_text()


class Migration(migrations.Migration):
    """Outcomes: decided on by facts, billed once, frozen with their invoice."""

    dependencies = [
        ('credits', '0012_one_own_change'),
        ('invoicing', '0012_seat_change'),
        ('metering', '0023_own_search_path'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Outcome',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('identifier', models.CharField(max_length=128)),
                ('occurred_at', models.DateTimeField()),
                ('note', models.CharField(blank=True, max_length=300)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('accepted', 'Accepted'), ('rejected', 'Rejected'), ('disputed', 'Disputed')], default='pending', max_length=8)),
                ('created_at', models.DateTimeField()),
                ('billing_period', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.billingperiod')),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('item', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.planitem')),
            ],
            options={
                'db_table': 'outcome',
                'ordering': ['-id'],
                'permissions': [('decide_outcome', 'Can decide on an outcome')],
            },
        ),
        migrations.CreateModel(
            name='LineOutcome',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('line', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='outcomes', to='invoicing.invoiceline')),
                ('outcome', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.outcome')),
            ],
            options={
                'db_table': 'line_outcome',
            },
        ),
        migrations.CreateModel(
            name='OutcomeDecision',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sequence', models.PositiveSmallIntegerField()),
                ('state_before', models.CharField(choices=[('pending', 'Pending'), ('accepted', 'Accepted'), ('rejected', 'Rejected'), ('disputed', 'Disputed')], max_length=8)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('accepted', 'Accepted'), ('rejected', 'Rejected'), ('disputed', 'Disputed')], max_length=8)),
                ('reason', models.CharField(max_length=300)),
                ('decided_at', models.DateTimeField()),
                ('decided_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('outcome', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='decisions', to='invoicing.outcome')),
            ],
            options={
                'db_table': 'outcome_decision',
                'ordering': ['outcome', 'sequence'],
            },
        ),
        migrations.AddIndex(
            model_name='outcome',
            index=models.Index(fields=['billing_period', 'state'], name='outcome_period'),
        ),
        migrations.AddConstraint(
            model_name='outcome',
            constraint=models.UniqueConstraint(fields=('customer', 'identifier'), name='outcome_once'),
        ),
        migrations.AddConstraint(
            model_name='outcomedecision',
            constraint=models.UniqueConstraint(fields=('outcome', 'sequence'), name='outcome_decision_in_order'),
        ),
        migrations.AddConstraint(
            model_name='outcomedecision',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'pending'), _negated=True), models.Q(('reason', ''), _negated=True)), name='outcome_decision_decides'),
        ),
        append_only("outcome_decision"),
        migrations.RunSQL(
            OUTCOMES,
            "DROP TRIGGER decide ON outcome_decision;"
            " DROP TRIGGER keep_rows ON outcome; DROP TRIGGER keep_table ON outcome;"
            " DROP TRIGGER keep_issued_from_more ON line_outcome;"
            " DROP TRIGGER keep_issued_from_less ON line_outcome;"
            " DROP TRIGGER keep_rows ON line_outcome; DROP TRIGGER keep_table ON line_outcome;"
            " DROP FUNCTION outcome_decide, outcome_keep",
        ),
        own_search_path("outcome_decide", "outcome_keep"),
    ]
