import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """How a note settles, and what a customer's balance and refunds do about it."""

    dependencies = [
        ('invoicing', '0006_own_change'),
        ('metering', '0020_own_change'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='BalanceApplication',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('applied_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'balance_application',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='CustomerBalance',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('currency', models.CharField(max_length=3)),
                ('balance_minor', models.BigIntegerField(default=0)),
            ],
            options={
                'db_table': 'customer_balance',
            },
        ),
        migrations.CreateModel(
            name='Refund',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('refunded_at', models.DateTimeField()),
                ('method', models.CharField(max_length=32)),
                ('reference', models.CharField(max_length=100)),
                ('recorded_at', models.DateTimeField()),
                ('source_key', models.CharField(max_length=120, unique=True)),
            ],
            options={
                'db_table': 'refund',
                'ordering': ['-id'],
                'permissions': [('record_refund', 'Can record a refund, or that it failed')],
            },
        ),
        migrations.CreateModel(
            name='RefundFailure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('failed_at', models.DateTimeField()),
                ('reason', models.CharField(max_length=500)),
                ('recorded_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'refund_failure',
                'ordering': ['-id'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='creditnote',
            name='credit_note_settlement_sums',
        ),
        migrations.RemoveConstraint(
            model_name='invoice',
            name='invoice_number_iff_finalized',
        ),
        migrations.AddField(
            model_name='creditnote',
            name='out_of_band_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='creditnote',
            name='refund_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='invoice',
            name='applied_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='invoice',
            name='returned_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddConstraint(
            model_name='creditnote',
            constraint=models.CheckConstraint(condition=models.Q(('balance_minor__gte', 0), ('open_minor__gte', 0), ('out_of_band_minor__gte', 0), ('refund_minor__gte', 0), ('total_minor__gt', 0), ('total_minor', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('open_minor'), '+', models.F('balance_minor')), '+', models.F('refund_minor')), '+', models.F('out_of_band_minor')))), name='credit_note_settlement_sums'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('applied_minor', 0), ('credited_minor', 0), ('finalized_at__isnull', True), ('number__isnull', True), ('open_minor', 0), ('paid_minor', 0), ('returned_minor', 0), ('sequence__isnull', True), ('status', 'draft')), models.Q(('finalized_at__isnull', False), ('number__isnull', False), ('open_minor__gt', 0), ('sequence__isnull', False), ('status', 'finalized')), models.Q(('finalized_at__isnull', False), ('number__isnull', False), ('open_minor', 0), ('sequence__isnull', False), ('status', 'paid')), _connector='OR'), name='invoice_number_iff_finalized'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('applied_minor__gte', 0), ('applied_minor__lte', models.F('total_minor'))), name='invoice_applied_within_total'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('returned_minor__gte', 0), ('returned_minor__lte', models.F('paid_minor'))), name='invoice_returned_within_paid'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('open_minor__lte', django.db.models.expressions.CombinedExpression(models.F('total_minor'), '-', models.F('credited_minor')))), name='invoice_open_not_credited'),
        ),
        migrations.AddField(
            model_name='balanceapplication',
            name='applied_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='balanceapplication',
            name='invoice',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='balance_applications', to='invoicing.invoice'),
        ),
        migrations.AddField(
            model_name='customerbalance',
            name='customer',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer'),
        ),
        migrations.AddField(
            model_name='refund',
            name='credit_note',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='refunds', to='invoicing.creditnote'),
        ),
        migrations.AddField(
            model_name='refund',
            name='recorded_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='refundfailure',
            name='recorded_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='refundfailure',
            name='refund',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='failure', to='invoicing.refund'),
        ),
        migrations.AddConstraint(
            model_name='balanceapplication',
            constraint=models.CheckConstraint(condition=models.Q(('amount_minor__gt', 0)), name='balance_application_amount_positive'),
        ),
        migrations.AddConstraint(
            model_name='customerbalance',
            constraint=models.UniqueConstraint(fields=('customer', 'currency'), name='customer_balance_once'),
        ),
        migrations.AddConstraint(
            model_name='customerbalance',
            constraint=models.CheckConstraint(condition=models.Q(('balance_minor__gte', 0)), name='customer_balance_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('amount_minor__gt', 0)), name='refund_amount_positive'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.UniqueConstraint(fields=('credit_note', 'method', 'reference'), name='refund_reference_once'),
        ),
    ]
