import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change


class Migration(migrations.Migration):
    """What is expected to be lost of receivables."""

    dependencies = [
        ('kernel', '0009_own_search_path'),
        ('revrec', '0018_grant_basis'),
    ]

    operations = [
        migrations.CreateModel(
            name='LossEstimate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('currency', models.CharField(max_length=3)),
                ('number', models.PositiveIntegerField()),
                ('rates', models.JSONField()),
                ('evidence', models.TextField()),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
            ],
            options={
                'db_table': 'loss_estimate',
                'ordering': ['currency', '-number'],
                'constraints': [models.UniqueConstraint(fields=('currency', 'number'), name='loss_estimate_once'), models.CheckConstraint(condition=models.Q(('evidence__regex', '^\\s*$'), _negated=True), name='loss_estimate_has_evidence')],
            },
        ),
        append_only("loss_estimate"),
        joins_own_change("loss_estimate", "loss_estimate"),
    ]
