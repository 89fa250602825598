from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('invoicing', '0047_opening_import'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='planitem',
            name='plan_item_credits',
        ),
        migrations.AlterField(
            model_name='planitem',
            name='kind',
            field=models.CharField(choices=[('recurring', 'Recurring'), ('seat', 'Seat'), ('outcome', 'Outcome'), ('commit', 'Commit'), ('one_off', 'One Off'), ('credit_pack', 'Credit Pack'), ('commitment', 'Commitment'), ('discount', 'Discount')], max_length=12),
        ),
        migrations.AddConstraint(
            model_name='planitem',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('credits__gt', 0), ('credits__isnull', False), ('credits__lt', 1000000000000000000000000), ('kind__in', ['credit_pack', 'commitment'])), models.Q(('credits__isnull', True), models.Q(('kind__in', ['credit_pack', 'commitment']), _negated=True)), _connector='OR'), name='plan_item_credits'),
        ),
    ]
