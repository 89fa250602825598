import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Hours of customers and their parts are kept, with how far they were looked at."""

    dependencies = [
        ('credits', '0025_supplier_sheet'),
        ('kernel', '0013_policy_evidence'),
        ('metering', '0028_customer_locale'),
    ]

    operations = [
        migrations.CreateModel(
            name='SpendHour',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('dimension', models.CharField(max_length=9)),
                ('value', models.TextField()),
                ('start_at', models.DateTimeField()),
                ('credits', models.DecimalField(decimal_places=12, max_digits=38)),
                ('calls', models.BigIntegerField()),
            ],
            options={
                'db_table': 'spend_hour',
            },
        ),
        migrations.CreateModel(
            name='SpendMark',
            fields=[
                ('customer', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='+', serialize=False, to='metering.customer')),
                ('through_id', models.BigIntegerField(default=0)),
                ('kept_since', models.DateTimeField()),
                ('kept_until', models.DateTimeField()),
                ('looked_until', models.DateTimeField()),
            ],
            options={
                'db_table': 'spend_mark',
            },
        ),
        migrations.AddField(
            model_name='anomaly',
            name='dimension',
            field=models.CharField(db_default='customer', default='customer', max_length=9),
        ),
        migrations.AddField(
            model_name='anomaly',
            name='value',
            field=models.TextField(blank=True, db_default='', default=''),
        ),
        migrations.AddIndex(
            model_name='hold',
            index=models.Index(fields=['customer', 'made_at'], name='hold_made'),
        ),
        migrations.AddField(
            model_name='spendhour',
            name='customer',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer'),
        ),
        migrations.AddField(
            model_name='spendmark',
            name='pricing_unit',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.pricingunit'),
        ),
        migrations.AddIndex(
            model_name='spendhour',
            index=models.Index(fields=['customer', 'dimension', 'start_at'], name='spend_hour_series'),
        ),
        migrations.AddConstraint(
            model_name='spendhour',
            constraint=models.UniqueConstraint(fields=('customer', 'start_at', 'dimension', 'value'), name='spend_hour_once'),
        ),
        migrations.AddConstraint(
            model_name='spendmark',
            constraint=models.CheckConstraint(condition=models.Q(('kept_until__gte', models.F('kept_since'))), name='spend_mark_kept_in_order'),
        ),
    ]
