from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change, own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Markets that finance opens, the tax charged there, and customers' tax ids."""

    dependencies = [
        ('credits', '0012_one_own_change'),
        ('invoicing', '0019_stripe_guards'),
        ('kernel', '0009_own_search_path'),
        ('metering', '0023_own_search_path'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='CustomerTaxId',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('eu_vat', 'EU VAT number'), ('gb_vat', 'UK VAT number'), ('ch_vat', 'Swiss VAT number'), ('no_vat', 'Norwegian VAT number'), ('us_ein', 'US EIN'), ('ca_bn', 'Canadian business number'), ('au_abn', 'Australian ABN'), ('nz_gst', 'New Zealand GST number'), ('in_gstin', 'Indian GSTIN'), ('jp_cn', 'Japanese corporate number')], max_length=10)),
                ('value', models.CharField(blank=True, max_length=30)),
                ('recorded_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'customer_tax_id',
                'ordering': ['-id'],
                'permissions': [('record_customertaxid', "Can record a customer's tax id")],
            },
        ),
        migrations.CreateModel(
            name='MarketGate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('country', models.CharField(blank=True, max_length=2)),
                ('currency', models.CharField(max_length=3)),
                ('number', models.PositiveIntegerField()),
                ('tax_registration', models.CharField(choices=[('registered', 'registered for tax there'), ('not_required', 'no registration is required')], max_length=12)),
                ('tax_number', models.CharField(blank=True, max_length=40)),
                ('registered_on', models.DateField(blank=True, null=True)),
                ('threshold_minor', models.BigIntegerField()),
                ('settlement_currency', models.CharField(max_length=3)),
                ('bank_country', models.CharField(max_length=2)),
                ('payout_days', models.PositiveSmallIntegerField()),
            ],
            options={
                'db_table': 'market_gate',
                'ordering': ['country', 'currency', '-number'],
            },
        ),
        migrations.CreateModel(
            name='TaxRate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('country', models.CharField(max_length=2)),
                ('number', models.PositiveIntegerField()),
                ('name', models.CharField(max_length=20)),
                ('rate', models.DecimalField(decimal_places=6, max_digits=9)),
                ('is_inclusive', models.BooleanField()),
                ('has_reverse_charge', models.BooleanField()),
            ],
            options={
                'db_table': 'tax_rate',
                'ordering': ['country', '-number'],
            },
        ),
        migrations.AddField(
            model_name='creditnote',
            name='tax_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='creditnoteline',
            name='tax_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='invoice',
            name='customer_tax_id',
            field=models.CharField(blank=True, max_length=30),
        ),
        migrations.AddField(
            model_name='invoice',
            name='tax_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='invoice',
            name='tax_name',
            field=models.CharField(blank=True, max_length=20),
        ),
        migrations.AddField(
            model_name='invoice',
            name='tax_treatment',
            field=models.CharField(blank=True, choices=[('outside', 'no tax: no registration is required'), ('standard', 'Standard'), ('reverse_charge', 'reverse charge: the customer accounts for the tax')], max_length=14),
        ),
        migrations.AddField(
            model_name='invoiceline',
            name='is_tax_inclusive',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='invoiceline',
            name='tax_credited_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='invoiceline',
            name='tax_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='invoiceline',
            name='tax_rate',
            field=models.DecimalField(db_default=0, decimal_places=6, default=0, max_digits=9),
        ),
        migrations.AddConstraint(
            model_name='creditnoteline',
            constraint=models.CheckConstraint(condition=models.Q(('tax_minor__gte', 0)), name='credit_note_line_tax_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='invoiceline',
            constraint=models.CheckConstraint(condition=models.Q(('tax_minor__gte', 0), ('tax_rate__gte', 0), ('tax_rate__lt', 1)), name='invoice_line_tax_bounds'),
        ),
        migrations.AddConstraint(
            model_name='invoiceline',
            constraint=models.CheckConstraint(condition=models.Q(('tax_credited_minor__gte', 0), ('tax_credited_minor__lte', models.F('tax_minor'))), name='invoice_line_tax_credited_within_tax'),
        ),
        migrations.AddField(
            model_name='customertaxid',
            name='customer',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer'),
        ),
        migrations.AddField(
            model_name='customertaxid',
            name='recorded_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='marketgate',
            name='policy_change',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange'),
        ),
        migrations.AddField(
            model_name='taxrate',
            name='policy_change',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange'),
        ),
        migrations.AddConstraint(
            model_name='marketgate',
            constraint=models.UniqueConstraint(fields=('country', 'currency', 'number'), name='market_gate_once'),
        ),
        migrations.AddConstraint(
            model_name='marketgate',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('registered_on__isnull', False), ('tax_number__gt', ''), ('tax_registration', 'registered')), models.Q(('registered_on__isnull', True), ('tax_number', ''), ('tax_registration', 'not_required')), _connector='OR'), name='market_gate_registered_with_number_and_date'),
        ),
        migrations.AddConstraint(
            model_name='marketgate',
            constraint=models.CheckConstraint(condition=models.Q(('threshold_minor__gte', 0)), name='market_gate_threshold_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='taxrate',
            constraint=models.UniqueConstraint(fields=('country', 'number'), name='tax_rate_once'),
        ),
        migrations.AddConstraint(
            model_name='taxrate',
            constraint=models.CheckConstraint(condition=models.Q(('rate__gte', 0), ('rate__lt', 1)), name='tax_rate_bounds'),
        ),
        append_only("market_gate"),
        append_only("tax_rate"),
        append_only("customer_tax_id"),
        joins_own_change("market_gate", "market_gate"),
        joins_own_change("tax_rate", "tax_rate"),
        migrations.RunSQL(
            (SQL / "markets.sql").read_text(), (SQL / "markets_back.sql").read_text()
        ),
        own_search_path(
            "invoice_need_open_market",
            "invoice_line_keep_issued",
            "invoice_line_follow_credit_note",
            "credit_note_lines_sum",
            "invoice_lines_sum",
        ),
    ]
