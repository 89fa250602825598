from django.db import migrations, models


class Migration(migrations.Migration):
    """Lines that claim a commitment ahead of its term."""

    dependencies = [
        ('invoicing', '0045_auto_recharge'),
    ]

    operations = [
        migrations.AlterField(
            model_name='invoiceline',
            name='kind',
            field=models.CharField(choices=[('recurring', 'Recurring'), ('overage', 'Overage'), ('credits_used', 'Credits Used'), ('credit_pack', 'Credit Pack'), ('seat', 'Seat'), ('outcome', 'Outcome'), ('one_off', 'One Off'), ('commit_shortfall', 'Commit Shortfall'), ('commitment', 'Commitment')], max_length=16),
        ),
        migrations.AlterField(
            model_name='lineusage',
            name='kind',
            field=models.CharField(choices=[('recurring', 'Recurring'), ('overage', 'Overage'), ('credits_used', 'Credits Used'), ('credit_pack', 'Credit Pack'), ('seat', 'Seat'), ('outcome', 'Outcome'), ('one_off', 'One Off'), ('commit_shortfall', 'Commit Shortfall'), ('commitment', 'Commitment')], max_length=16),
        ),
    ]
