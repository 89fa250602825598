import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change


class Migration(migrations.Migration):
    """Estimates that revenue rests on: versions that finance approves."""

    dependencies = [
        ('kernel', '0009_own_search_path'),
        ('metering', '0025_close_customer'),
        ('revrec', '0013_sign_exceptions'),
    ]

    operations = [
        migrations.CreateModel(
            name='BreakageEstimate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(max_length=64)),
                ('number', models.PositiveIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('sold_from', models.DateField()),
                ('sold_until', models.DateField(blank=True, null=True)),
                ('method', models.CharField(choices=[('remote', 'remote'), ('proportional', 'proportional'), ('escheat', 'escheat')], max_length=12)),
                ('rate', models.DecimalField(decimal_places=8, max_digits=9)),
                ('evidence', models.TextField()),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
            ],
            options={
                'db_table': 'breakage_estimate',
                'ordering': ['code', '-number'],
                'constraints': [models.UniqueConstraint(fields=('code', 'number'), name='breakage_estimate_once'), models.CheckConstraint(condition=models.Q(models.Q(('method', 'proportional'), ('rate__gt', 0), ('rate__lt', 1)), models.Q(models.Q(('method', 'proportional'), _negated=True), ('rate', 0)), _connector='OR'), name='breakage_estimate_rate_of_method'), models.CheckConstraint(condition=models.Q(('sold_until__isnull', True), ('sold_until__gt', models.F('sold_from')), _connector='OR'), name='breakage_estimate_half_open'), models.CheckConstraint(condition=models.Q(('evidence__regex', '^\\s*$'), _negated=True), name='breakage_estimate_has_evidence')],
            },
        ),
        migrations.CreateModel(
            name='VariableEstimate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(max_length=64)),
                ('number', models.PositiveIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('method', models.CharField(choices=[('expected_value', 'expected_value'), ('most_likely', 'most_likely')], max_length=16)),
                ('outcomes', models.JSONField()),
                ('confidence', models.DecimalField(decimal_places=4, max_digits=5)),
                ('billed_minor', models.BigIntegerField()),
                ('refund_minor', models.BigIntegerField()),
                ('evidence', models.TextField()),
                ('customer', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
                ('revenue_account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='revrec.ledgeraccount')),
            ],
            options={
                'db_table': 'variable_estimate',
                'ordering': ['code', '-number'],
                'constraints': [models.UniqueConstraint(fields=('code', 'number'), name='variable_estimate_once'), models.CheckConstraint(condition=models.Q(('refund_minor__gte', 0), ('refund_minor__lte', models.F('billed_minor'))), name='variable_estimate_within_billed'), models.CheckConstraint(condition=models.Q(('confidence__gt', 0), ('confidence__lte', 1)), name='variable_estimate_confidence_is_a_share'), models.CheckConstraint(condition=models.Q(('evidence__regex', '^\\s*$'), _negated=True), name='variable_estimate_has_evidence')],
            },
        ),
        append_only("breakage_estimate"),
        append_only("variable_estimate"),
        joins_own_change("breakage_estimate", "breakage"),
        joins_own_change("variable_estimate", "variable_estimate"),
    ]
