from django.db import migrations, models


class Migration(migrations.Migration):
    """A purchase that is used up when its payment is disputed is frozen by an entry over nothing."""

    dependencies = [('credits', '0031_lapsed_work')]

    operations = [
        migrations.RemoveConstraint(
            model_name='ledgertransaction',
            name='ledger_transaction_sign',
        ),
        migrations.AddConstraint(
            model_name='ledgertransaction',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('credits__gt', 0), ('credits__lt', 1000000000000000000000000), ('kind__in', ['granted', 'returned', 'reinstated'])), models.Q(('credits__gt', -1000000000000000000000000), ('credits__lt', 0), ('kind__in', ['drawn', 'expired', 'voided', 'rolled_over'])), models.Q(('credits', 0), ('kind', 'voided'), ('reason_code', 'disputed')), models.Q(('credits', 0), ('kind', 'reinstated'), ('reason_code', 'dispute_closed')), _connector='OR'), name='ledger_transaction_sign'),
        ),
    ]
