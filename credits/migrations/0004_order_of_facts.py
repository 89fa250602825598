import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """A customer's facts in their order, in place of indexes that others begin with."""

    dependencies = [
        ('credits', '0003_rating_totals'),
        ('metering', '0012_backfill'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name='ledgertransaction',
            name='customer',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer'),
        ),
        migrations.AlterField(
            model_name='ratedusage',
            name='billing_period',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.billingperiod'),
        ),
        migrations.AlterField(
            model_name='ratedusage',
            name='customer',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer'),
        ),
        migrations.AlterField(
            model_name='ratedusage',
            name='window',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.usagewindow'),
        ),
        migrations.AddIndex(
            model_name='ledgertransaction',
            index=models.Index(fields=['customer', 'id'], name='ledger_transaction_order'),
        ),
        migrations.AddIndex(
            model_name='ratedusage',
            index=models.Index(fields=['customer', 'id'], name='rated_usage_customer'),
        ),
    ]
