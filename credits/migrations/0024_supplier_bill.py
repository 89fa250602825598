import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, facts_with_state


class Migration(migrations.Migration):
    """Suppliers' bills beside what usage costs; prices of batches."""

    dependencies = [
        ('credits', '0023_anomaly_and_incident'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name='supplierrate',
            name='token_kind',
            field=models.CharField(choices=[('input', 'Input'), ('cached_input', 'Cached Input'), ('cache_write', 'Cache Write'), ('output', 'Output'), ('batch_input', 'Batch Input'), ('batch_output', 'Batch Output')], max_length=12),
        ),
        migrations.CreateModel(
            name='SupplierBill',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('supplier', models.CharField(max_length=64)),
                ('month_on', models.DateField()),
                ('currency', models.CharField(max_length=3)),
                ('source', models.CharField(max_length=200)),
                ('text_sha256', models.CharField(max_length=64)),
                ('imported_at', models.DateTimeField()),
                ('imported_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'supplier_bill',
                'ordering': ['-id'],
                'permissions': [('reconcile_supplierbill', "Can import suppliers' bills and explain them")],
            },
        ),
        migrations.CreateModel(
            name='SupplierBillLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('model', models.CharField(max_length=128)),
                ('billed', models.DecimalField(decimal_places=12, max_digits=38)),
                ('expected', models.DecimalField(decimal_places=12, max_digits=38)),
                ('is_open', models.BooleanField()),
                ('explanation', models.TextField(blank=True)),
                ('explained_at', models.DateTimeField(blank=True, null=True)),
                ('bill', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='lines', to='credits.supplierbill')),
                ('explained_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'supplier_bill_line',
                'ordering': ['-bill', 'id'],
            },
        ),
        migrations.AddConstraint(
            model_name='supplierbill',
            constraint=models.UniqueConstraint(fields=('supplier', 'month_on', 'text_sha256'), name='supplier_bill_once'),
        ),
        migrations.AddConstraint(
            model_name='supplierbill',
            constraint=models.CheckConstraint(condition=models.Q(('currency__regex', '^[A-Z]{3}$')), name='supplier_bill_currency_code'),
        ),
        migrations.AddConstraint(
            model_name='supplierbillline',
            constraint=models.UniqueConstraint(fields=('bill', 'model'), name='supplier_bill_line_once'),
        ),
        migrations.AddConstraint(
            model_name='supplierbillline',
            constraint=models.CheckConstraint(condition=models.Q(('billed__gt', -1000000000000000000000000), ('billed__lt', 1000000000000000000000000), ('expected__gt', -1000000000000000000000000), ('expected__lt', 1000000000000000000000000)), name='supplier_bill_line_bounds'),
        ),
        migrations.AddConstraint(
            model_name='supplierbillline',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('explained_at__isnull', True), ('explained_by__isnull', True), ('explanation', '')), models.Q(('explained_at__isnull', False), ('explained_by__isnull', False), ('is_open', False), models.Q(('explanation', ''), _negated=True)), _connector='OR'), name='supplier_bill_line_explained_by_someone'),
        ),
        append_only("supplier_bill"),
        facts_with_state(
            "supplier_bill_line", "is_open", "owner_id", "explanation", "explained_by_id",
            "explained_at",
        ),
    ]
