import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only

FIRST = """
INSERT INTO supplier_bill_comparison (bill_id, number, reason, compared_by_id, compared_at)
SELECT id, 1, '', imported_by_id, imported_at FROM supplier_bill
"""


class Migration(migrations.Migration):
    """A bill may be compared again, beside what was compared; what stands is the first."""

    dependencies = [
        ('credits', '0029_rules_by_customer'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SupplierBillComparison',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveSmallIntegerField()),
                ('reason', models.TextField(blank=True)),
                ('compared_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'supplier_bill_comparison',
                'ordering': ['-bill', '-number'],
            },
        ),
        migrations.AlterModelOptions(
            name='supplierbillline',
            options={'ordering': ['-bill', '-number', 'id']},
        ),
        migrations.RemoveConstraint(
            model_name='supplierbillline',
            name='supplier_bill_line_once',
        ),
        migrations.AddField(
            model_name='supplierbillline',
            name='number',
            field=models.PositiveSmallIntegerField(default=1, verbose_name='comparison'),
        ),
        migrations.AddConstraint(
            model_name='supplierbillline',
            constraint=models.UniqueConstraint(fields=('bill', 'number', 'model'), name='supplier_bill_line_once'),
        ),
        migrations.AddField(
            model_name='supplierbillcomparison',
            name='bill',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='comparisons', to='credits.supplierbill'),
        ),
        migrations.AddField(
            model_name='supplierbillcomparison',
            name='compared_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='supplierbillcomparison',
            constraint=models.UniqueConstraint(fields=('bill', 'number'), name='supplier_bill_comparison_once'),
        ),
        append_only("supplier_bill_comparison"),
        migrations.RunSQL(FIRST, migrations.RunSQL.noop),
    ]
