import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change, needs_proposed


class Migration(migrations.Migration):
    """Contracts over several lines, whose price is allocated by what each would cost alone."""

    dependencies = [
        ('invoicing', '0046_commitment_line'),
        ('kernel', '0012_second_factor'),
        ('metering', '0028_customer_locale'),
        ('revrec', '0020_commitment_obligation'),
    ]

    operations = [
        migrations.CreateModel(
            name='ContractAllocation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('currency', models.CharField(max_length=3)),
                ('evidence', models.TextField()),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
            ],
            options={
                'db_table': 'contract_allocation',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='AllocatedShare',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('ssp', models.DecimalField(decimal_places=12, max_digits=38)),
                ('allocated_minor', models.BigIntegerField()),
                ('invoice_line', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.invoiceline')),
                ('allocation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='shares', to='revrec.contractallocation')),
            ],
            options={
                'db_table': 'allocated_share',
                'ordering': ['allocation', 'id'],
            },
        ),
        migrations.AddConstraint(
            model_name='contractallocation',
            constraint=models.CheckConstraint(condition=models.Q(('evidence__regex', '^\\s*$'), _negated=True), name='contract_allocation_has_evidence'),
        ),
        migrations.AddConstraint(
            model_name='allocatedshare',
            constraint=models.UniqueConstraint(fields=('allocation', 'invoice_line'), name='allocated_share_once'),
        ),
        migrations.AddConstraint(
            model_name='allocatedshare',
            constraint=models.CheckConstraint(condition=models.Q(('allocated_minor__gt', 0), ('ssp__gt', 0), ('ssp__lte', 1000000000000)), name='allocated_share_bounds'),
        ),
        append_only("contract_allocation"),
        joins_own_change("contract_allocation", "contract_allocation"),
        append_only("allocated_share"),
        needs_proposed("allocated_share", "allocation_id", "contract_allocation"),
    ]
