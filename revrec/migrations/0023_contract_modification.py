import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change, needs_proposed


class Migration(migrations.Migration):
    """Contracts that changed, and how the books treat it."""

    dependencies = [
        ('invoicing', '0046_commitment_line'),
        ('kernel', '0012_second_factor'),
        ('metering', '0028_customer_locale'),
        ('revrec', '0022_chain_of_entity'),
    ]

    operations = [
        migrations.CreateModel(
            name='ContractModification',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('treatment', models.CharField(choices=[('separate', 'separate'), ('prospective', 'prospective'), ('catch_up', 'catch up')], max_length=11)),
                ('adds_distinct', models.BooleanField()),
                ('at_ssp', models.BooleanField()),
                ('rest_is_distinct', models.BooleanField()),
                ('evidence', models.TextField()),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
            ],
            options={
                'db_table': 'contract_modification',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='ModifiedLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('is_added', models.BooleanField()),
                ('invoice_line', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.invoiceline')),
                ('modification', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='lines', to='revrec.contractmodification')),
            ],
            options={
                'db_table': 'modified_line',
                'ordering': ['modification', 'id'],
            },
        ),
        migrations.AddConstraint(
            model_name='contractmodification',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('adds_distinct', True), ('at_ssp', True), ('treatment', 'separate')), models.Q(('rest_is_distinct', True), ('treatment', 'prospective'), models.Q(('adds_distinct', True), ('at_ssp', True), _negated=True)), models.Q(('rest_is_distinct', False), ('treatment', 'catch_up'), models.Q(('adds_distinct', True), ('at_ssp', True), _negated=True)), _connector='OR'), name='contract_modification_follows_answers'),
        ),
        migrations.AddConstraint(
            model_name='contractmodification',
            constraint=models.CheckConstraint(condition=models.Q(('evidence__regex', '^\\s*$'), _negated=True), name='contract_modification_has_evidence'),
        ),
        migrations.AddConstraint(
            model_name='modifiedline',
            constraint=models.UniqueConstraint(fields=('modification', 'invoice_line'), name='modified_line_once'),
        ),
        append_only("contract_modification"),
        joins_own_change("contract_modification", "contract_modification"),
        append_only("modified_line"),
        needs_proposed("modified_line", "modification_id", "contract_modification"),
    ]
