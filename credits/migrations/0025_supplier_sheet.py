import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change, needs_proposed


class Migration(migrations.Migration):
    """Suppliers' prices count once finance approved the sheet that they came in."""

    dependencies = [
        ('credits', '0024_supplier_bill'),
        ('kernel', '0013_policy_evidence'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SupplierSheet',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(unique=True)),
                ('currency', models.CharField(max_length=3)),
                ('source', models.CharField(max_length=200)),
            ],
            options={
                'db_table': 'supplier_sheet',
                'ordering': ['-number'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='supplierrate',
            name='supplier_rate_once',
        ),
        migrations.AddField(
            model_name='suppliersheet',
            name='policy_change',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange'),
        ),
        migrations.AddField(
            model_name='supplierrate',
            name='sheet',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='rates', to='credits.suppliersheet'),
        ),
        migrations.AddConstraint(
            model_name='supplierrate',
            constraint=models.UniqueConstraint(condition=models.Q(('sheet__isnull', True)), fields=('supplier', 'model', 'token_kind', 'effective_at'), name='supplier_rate_once'),
        ),
        migrations.AddConstraint(
            model_name='supplierrate',
            constraint=models.UniqueConstraint(fields=('sheet', 'supplier', 'model', 'token_kind'), name='supplier_rate_once_a_sheet'),
        ),
        append_only("supplier_sheet"),
        joins_own_change("supplier_sheet", "supplier_rates"),
        needs_proposed("supplier_rate", "sheet_id", "supplier_sheet"),
    ]
