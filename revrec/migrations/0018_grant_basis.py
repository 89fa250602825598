import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change


class Migration(migrations.Migration):
    """What credits that were given stand at: a concession, or a share of a purchase."""

    dependencies = [
        ('credits', '0021_forgiven_usage_index'),
        ('kernel', '0009_own_search_path'),
        ('revrec', '0017_disclosure_policy'),
    ]

    operations = [
        migrations.CreateModel(
            name='GrantBasis',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('cause', models.CharField(choices=[('concession', 'given for something that went wrong'), ('bonus', 'came with a purchase')], max_length=10)),
                ('price_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('ssp', models.DecimalField(blank=True, decimal_places=12, max_digits=38, null=True)),
                ('likelihood', models.DecimalField(blank=True, decimal_places=8, max_digits=9, null=True)),
                ('purchase_ssp', models.DecimalField(blank=True, decimal_places=12, max_digits=38, null=True)),
                ('purchase_likelihood', models.DecimalField(blank=True, decimal_places=8, max_digits=9, null=True)),
                ('evidence', models.TextField()),
                ('grant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.creditgrant')),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
                ('purchase', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.creditgrant')),
            ],
            options={
                'verbose_name_plural': 'grant bases',
                'db_table': 'grant_basis',
                'ordering': ['-id'],
                'constraints': [models.CheckConstraint(condition=models.Q(('price_minor__gt', 0)), name='grant_basis_price_positive'), models.CheckConstraint(condition=models.Q(models.Q(('cause', 'concession'), ('likelihood__isnull', True), ('purchase__isnull', True), ('purchase_likelihood__isnull', True), ('purchase_ssp__isnull', True), ('ssp__isnull', True)), models.Q(('cause', 'bonus'), ('likelihood__gt', 0), ('likelihood__isnull', False), ('likelihood__lte', 1), ('purchase__isnull', False), ('purchase_likelihood__gt', 0), ('purchase_likelihood__isnull', False), ('purchase_likelihood__lte', 1), ('purchase_ssp__gt', 0), ('purchase_ssp__isnull', False), ('ssp__gt', 0), ('ssp__isnull', False)), _connector='OR'), name='grant_basis_of_cause'), models.CheckConstraint(condition=models.Q(('evidence__regex', '^\\s*$'), _negated=True), name='grant_basis_has_evidence')],
            },
        ),
        append_only("grant_basis"),
        joins_own_change("grant_basis", "grant_basis"),
    ]
