import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only, needs_proposed


class Migration(migrations.Migration):
    """Items of plan versions: approved with their version, immutable; and their kinds of lines."""

    dependencies = [
        ('invoicing', '0010_refund_of_balance'),
    ]

    operations = [
        migrations.AlterField(
            model_name='invoiceline',
            name='kind',
            field=models.CharField(choices=[('recurring', 'Recurring'), ('overage', 'Overage'), ('credits_used', 'Credits Used'), ('credit_pack', 'Credit Pack'), ('seat', 'Seat'), ('outcome', 'Outcome'), ('one_off', 'One Off'), ('commit_shortfall', 'Commit Shortfall')], max_length=16),
        ),
        migrations.AlterField(
            model_name='lineusage',
            name='kind',
            field=models.CharField(choices=[('recurring', 'Recurring'), ('overage', 'Overage'), ('credits_used', 'Credits Used'), ('credit_pack', 'Credit Pack'), ('seat', 'Seat'), ('outcome', 'Outcome'), ('one_off', 'One Off'), ('commit_shortfall', 'Commit Shortfall')], max_length=16),
        ),
        migrations.CreateModel(
            name='PlanItem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField()),
                ('kind', models.CharField(choices=[('recurring', 'Recurring'), ('seat', 'Seat'), ('outcome', 'Outcome'), ('commit', 'Commit'), ('one_off', 'One Off'), ('credit_pack', 'Credit Pack'), ('discount', 'Discount')], max_length=12)),
                ('code', models.CharField(max_length=40)),
                ('name', models.CharField(max_length=100)),
                ('amount_minor', models.BigIntegerField(default=0)),
                ('percent', models.DecimalField(blank=True, decimal_places=3, max_digits=6, null=True)),
                ('credits', models.DecimalField(blank=True, decimal_places=12, max_digits=38, null=True)),
                ('timing', models.CharField(choices=[('advance', 'Advance'), ('arrears', 'Arrears')], max_length=7)),
                ('periods', models.PositiveSmallIntegerField(default=1)),
                ('kinds', models.JSONField(blank=True, default=list)),
                ('plan_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='items', to='invoicing.planversion')),
            ],
            options={
                'db_table': 'plan_item',
                'ordering': ['plan_version', 'position'],
                'constraints': [models.UniqueConstraint(fields=('plan_version', 'code'), name='plan_item_code_once'), models.UniqueConstraint(fields=('plan_version', 'position'), name='plan_item_position_once'), models.CheckConstraint(condition=models.Q(('amount_minor__gte', 0), ('amount_minor__lt', 1000000000000000), ('periods__lte', 120)), name='plan_item_bounds'), models.CheckConstraint(condition=models.Q(('percent__isnull', True), models.Q(('amount_minor', 0), ('kind', 'discount'), ('percent__gt', 0), ('percent__lte', 100)), _connector='OR'), name='plan_item_percent'), models.CheckConstraint(condition=models.Q(models.Q(('credits__gt', 0), ('credits__isnull', False), ('credits__lt', 1000000000000000000000000), ('kind', 'credit_pack')), models.Q(('credits__isnull', True), models.Q(('kind', 'credit_pack'), _negated=True)), _connector='OR'), name='plan_item_credits')],
            },
        ),
        append_only("plan_item"),
        needs_proposed("plan_item", "plan_version_id", "plan_version"),
    ]
